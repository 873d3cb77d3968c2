import { readEnvironment } from '../../src/environment.ts';
import { startPoolAhead } from './pool-ahead.ts';

/** Such a pool as a process, which dies like under `kill -9` at one step of a refresh. */
const [aheadMs = '0', dyingAt] = process.argv.slice(2);
const services = await startPoolAhead(readEnvironment(), Number(aheadMs), {
  async onRefreshStep(step) {
    if (step !== dyingAt) return;
    process.kill(process.pid, 'SIGKILL');
    await new Promise(() => {});
  },
});
process.once('SIGTERM', () => void services.close());
