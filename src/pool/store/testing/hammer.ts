import { testAccount, testDemand } from '../../testing/test-pool.ts';
import { openSqliteStore } from '../sqlite/sqlite-store.ts';

/** A process that works the store without a pause, made to be killed: it reports every account that is stored. */
const [path = '', round = ''] = process.argv.slice(2);
const store = openSqliteStore(path, Date.now(), { auditsLeases: true });
const added: string[] = [];

async function work(step: number): Promise<void> {
  const id = `acc_${round}_${step}`;
  if (step % 3 === 0) {
    await store.addAccount(Date.now(), testAccount(id), 'test');
    added.push(id);
    process.send?.(added);
  }
  await store.ensureLeases(
    Date.now(),
    testDemand(`session-${round}-${step}`, { exclusive: false, slots: 3 }),
  );
  if (step % 2 === 0) {
    await store.release(Date.now(), { sessionId: `session-${round}-${step - 1}`, keyId: null, leases: null });
  }
  setImmediate(() => void work(step + 1));
}
void work(0);
