import { expect, it, vi } from 'vitest';
import { startTestPool } from './testing/test-pool.ts';
import { Refresher } from './tokens/refresh.ts';
import { Housekeeper } from './upkeep/housekeeper.ts';

it('closes its store where parts cannot be stopped, and says so', async () => {
  const { pool, store } = await startTestPool();
  const closing = vi.spyOn(store, 'close');
  vi.spyOn(Housekeeper.prototype, 'stop').mockRejectedValueOnce(new Error('one hangs'));
  vi.spyOn(Refresher.prototype, 'stop').mockRejectedValueOnce(new Error('two hangs'));
  const fault = await pool.close().catch((error: unknown) => error);
  expect(fault).toMatchObject({ name: 'AggregateError', message: 'one hangs; two hangs' });
  expect(closing).toHaveBeenCalledOnce();
});
