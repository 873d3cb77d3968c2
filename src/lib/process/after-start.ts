import type { Clock } from '../clock.ts';
import { collectGarbage } from './own-turn.ts';

const quietMs = 5_000;
/** Of this thread's processor time: one that has begun to work takes more. */
const mostBusyMs = 500;

/**
 * Gives back the memory that only the start of this thread has needed, 18 MB of a service and 3 of a database's thread: V8 keeps it
 * while little new is allocated. A thread that works by then needs it, and would lose what V8 has compiled. Answers what cancels it.
 */
export function shrinkAfterStart(
  clock: Clock,
  shrink = () => collectGarbage({ flavor: 'last-resort' }),
): () => void {
  const begun = process.threadCpuUsage();
  return clock.after(quietMs, () => {
    const { user, system } = process.threadCpuUsage(begun);
    if ((user + system) / 1_000 < mostBusyMs) shrink();
  });
}
