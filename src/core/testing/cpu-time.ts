/** CPU seconds of this process that a task takes: unlike time on a clock, it hardly depends on what else runs. */
export async function cpuSecondsOf(task: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await task();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}
