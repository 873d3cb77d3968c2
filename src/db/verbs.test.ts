import { Worker } from 'node:worker_threads';
import { describe, expect, it, vi } from 'vitest';
import { DatabaseError } from './database.ts';
import { connectVerbs } from './verbs.ts';

/** A worker that serves `source`, the body of a function that answers an object of verbs. */
function workerOf(source: string): Worker {
  const script = `
    import { serveVerbs } from ${JSON.stringify(new URL('./verbs.ts', import.meta.url).href)};
    import { DatabaseError } from ${JSON.stringify(new URL('./database.ts', import.meta.url).href)};
    serveVerbs(() => { ${source} });`;
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), { execArgv: [] });
}

interface Sums {
  add(one: number, other: number): number;
  fail(): never;
  die(): never;
  close(): void;
}

const sums = `return {
  add: (one, other) => one + other,
  fail: () => { throw new DatabaseError('database_unusable', 'no'); },
  die: () => process.exit(3),
  close: () => {},
};`;

describe('verbs on another thread', () => {
  it('answer in order, and errors keep their code', async () => {
    const onLost = vi.fn();
    const remote = await connectVerbs<Sums>(workerOf(sums), onLost);
    expect(await Promise.all([remote.add(1, 2), remote.add(3, 4)])).toEqual([3, 7]);
    await expect(remote.fail()).rejects.toBeInstanceOf(DatabaseError);
    await expect(remote.fail()).rejects.toMatchObject({ code: 'database_unusable', message: 'no' });
    await remote.close();
    await expect(remote.add(1, 2)).rejects.toMatchObject({ code: 'database_lost' });
    expect(onLost).not.toHaveBeenCalled();
  });

  it('reject what is under way and tell the owner when the thread dies', async () => {
    const onLost = vi.fn();
    const remote = await connectVerbs<Sums>(workerOf(sums), onLost);
    await expect(Promise.all([remote.die(), remote.add(1, 2)])).rejects.toMatchObject({
      code: 'database_lost',
    });
    await expect(remote.add(1, 2)).rejects.toMatchObject({ code: 'database_lost' });
    expect(onLost).toHaveBeenCalledOnce();
  });

  it('say why they could not be opened', async () => {
    const opening = connectVerbs<Sums>(
      workerOf(`throw new DatabaseError('database_in_use', 'held');`),
      () => {},
    );
    await expect(opening).rejects.toMatchObject({ code: 'database_in_use', message: 'held' });
  });
});
