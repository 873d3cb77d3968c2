import { join } from 'node:path';
import { systemClock } from '../../lib/clock.ts';
import { openStore } from '../store/open-store.ts';
import { rotateKey } from '../upkeep/rotate-key.ts';
import { openVault } from '../vault/open-vault.ts';

/** A process that rotates the key of a folder's store and dies at the given step, for the test of rotation. */
const [folder = '', deadlyStep = ''] = process.argv.slice(2);
const store = await openStore(join(folder, 'accounts.db'), { clock: systemClock, onLost() {} });
const place = { defaultKeyFile: join(folder, 'master.key') };
const vault = await openVault({ store, ...place, now: 0 });
await rotateKey({
  store,
  vault,
  place,
  now: 0,
  actor: 'test',
  onStep(step) {
    if (step === deadlyStep) process.kill(process.pid, 'SIGKILL');
  },
});
await store.close();
