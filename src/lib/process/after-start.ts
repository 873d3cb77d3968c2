import type { Clock } from '../clock.ts';
import { collectGarbage } from './own-turn.ts';

const quietMs = 5_000;
/** Of processor time: a service that has begun to work takes more. */
const mostBusyMs = 250;

/**
 * Gives back the memory that only the start has needed, some 18 MB: V8 keeps it while little new is allocated. A service that works by
 * then needs it, and would lose what V8 has compiled. Answers what cancels it.
 */
export function shrinkAfterStart(
  clock: Clock,
  shrink = () => collectGarbage({ flavor: 'last-resort' }),
): () => void {
  const begun = process.cpuUsage();
  return clock.after(quietMs, () => {
    const { user, system } = process.cpuUsage(begun);
    if ((user + system) / 1_000 < mostBusyMs) shrink();
  });
}
