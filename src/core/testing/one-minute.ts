const minuteNow = (): number => Math.floor(Date.now() / 60_000);

/**
 * For what is counted by the calendar, all of whose borders lie between two minutes. What fails while a minute ends says
 * nothing and is done again: it has to begin again each time.
 */
export async function inOneMinute(task: () => unknown): Promise<void> {
  for (;;) {
    const minute = minuteNow();
    try {
      await task();
      return;
    } catch (error) {
      if (minuteNow() === minute) throw error;
    }
  }
}
