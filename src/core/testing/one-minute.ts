const minuteMs = 60_000;

/**
 * For what is counted by the calendar, all of whose borders lie between two minutes. What fails while a minute ends says
 * nothing and is done again: it has to begin again each time.
 */
export const inOneMinute = (task: () => unknown): Promise<void> => inOne(minuteMs, task);

/** The same for what is counted by days in UTC, and takes longer than a minute on a busy machine. */
export const inOneDay = (task: () => unknown): Promise<void> => inOne(1_440 * minuteMs, task);

async function inOne(periodMs: number, task: () => unknown): Promise<void> {
  const periodNow = (): number => Math.floor(Date.now() / periodMs);
  for (;;) {
    const period = periodNow();
    try {
      await task();
      return;
    } catch (error) {
      if (periodNow() === period) throw error;
    }
  }
}
