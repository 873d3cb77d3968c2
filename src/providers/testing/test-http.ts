import { type Clock, systemClock } from '../../lib/clock.ts';
import { createNetwork } from '../../lib/network/network.ts';
import { noProxies } from '../../lib/network/proxy-rules.ts';
import { createProviderHttp } from '../http.ts';

/** The way to vendors as programs have it, without a proxy. */
const testNetwork = createNetwork({
  proxies: noProxies,
  clock: systemClock,
  userAgent: 'warp2api/test',
});
export const testHttp = createProviderHttp(testNetwork.dispatcher);
/** Its limits are over when the test says so. */
export const testHttpAt = (clock: Pick<Clock, 'after'>) => createProviderHttp(testNetwork.dispatcher, clock);
export const testTokenHttp = createProviderHttp(testNetwork.singleUse);
