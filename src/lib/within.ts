import type { Clock } from './clock.ts';

/** What `task` answers; undefined when that takes longer than `limitMs`. The task itself goes on. */
export async function within<Value>(
  task: Promise<Value>,
  clock: Pick<Clock, 'after'>,
  limitMs: number,
): Promise<Value | undefined> {
  let cancel = () => {};
  const late = new Promise<undefined>((resolve) => {
    cancel = clock.after(limitMs, () => resolve(undefined));
  });
  try {
    return await Promise.race([task, late]);
  } finally {
    cancel();
  }
}
