import { startServices } from '../../src/compose.ts';
import { loadConfig } from '../../src/config.ts';
import { readEnvironment } from '../../src/environment.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createLogger } from '../../src/lib/log/logger.ts';

/** `serve pool` for tests: its clock may be ahead, and it dies like under `kill -9` at one step of a refresh. */
const [aheadMs = '0', dyingAt] = process.argv.slice(2);
const config = loadConfig(readEnvironment());
const services = await startServices(
  config,
  'pool',
  createLogger('INFO'),
  (error) => {
    throw error;
  },
  {
    clock: { ...systemClock, now: () => systemClock.now() + Number(aheadMs) },
    async onRefreshStep(step) {
      if (step !== dyingAt) return;
      process.kill(process.pid, 'SIGKILL');
      await new Promise(() => {});
    },
  },
);
process.once('SIGTERM', () => void services.close());
