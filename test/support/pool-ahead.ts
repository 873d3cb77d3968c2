import type { ServiceSeams } from '../../src/compose/build-pool.ts';
import { type RunningServices, startServices } from '../../src/compose.ts';
import { loadConfig } from '../../src/config.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log/logger.ts';

/** `serve pool` for tests: its clock may be ahead, and they hear of the steps of its refreshes. */
export function startPoolAhead(
  environment: NodeJS.ProcessEnv,
  aheadMs: number,
  seams: ServiceSeams = {},
): Promise<RunningServices> {
  const clock = { ...systemClock, now: () => systemClock.now() + aheadMs };
  const onLost = (error: Error) => {
    throw error;
  };
  const config = loadConfig(environment);
  return startServices(config, 'pool', createLogger(config.logLevel), onLost, { clock, ...seams });
}
