import type { Clock } from './clock.ts';

const isLate = Symbol('late');

/** What `task` answers; what `onLate` returns, or throws, when that takes longer than `limitMs`. The task itself goes on. */
export async function within<Value, Late = undefined>(
  task: Promise<Value>,
  clock: Pick<Clock, 'after'>,
  limitMs: number,
  onLate: () => Late = () => undefined as Late,
): Promise<Value | Late> {
  let cancel = () => {};
  const late = new Promise<typeof isLate>((resolve) => {
    cancel = clock.after(limitMs, () => resolve(isLate));
  });
  try {
    const first = await Promise.race([task, late]);
    return first === isLate ? onLate() : first;
  } finally {
    cancel();
  }
}
