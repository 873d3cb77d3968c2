import { lookup as systemLookup } from 'node:dns';
import type { Agent as UndiciAgent } from 'undici';
import { Agent, buildConnector } from '../undici.ts';
import { isPublicAddress, isPublicHost } from './ip-addresses.ts';
import { judgedLookup, type LookupAll } from './judged-lookup.ts';

/** The host leads into this machine, its network, or nowhere on the public internet. */
export class PrivateAddressError extends Error {
  constructor() {
    super('The address is not on the public internet.');
    this.name = 'PrivateAddressError';
  }
}

/**
 * Connections to the public internet only. A name is looked up once, all its addresses are looked at, and the connection
 * goes to one of these: a name cannot show one address to the guard and lead to another. No connection is used twice.
 */
export function createGuardedAgent(connectTimeoutMs: number, lookup: LookupAll = systemLookup): UndiciAgent {
  const connect = buildConnector({
    timeout: connectTimeoutMs,
    lookup: judgedLookup(lookup, (addresses) =>
      addresses.length > 0 && addresses.every(isPublicAddress) ? undefined : new PrivateAddressError(),
    ),
  });
  return new Agent({
    pipelining: 0,
    connect(options, callback) {
      // An address in the URL itself is never looked up.
      if (isPublicHost(options.hostname)) connect(options, callback);
      else callback(new PrivateAddressError(), null);
    },
  });
}
