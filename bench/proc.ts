import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** What Linux tells about a running process, in /proc. */

/** Clock ticks of user and system time, from a line of /proc/PID/stat. The name in it may hold blanks and brackets. */
export function ticksOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** Nanoseconds on a processor, from a line of /proc/PID/task/TID/schedstat. */
export function nanosecondsOf(schedstat: string): number {
  return Number(schedstat.split(' ', 1)[0]);
}

/** A size in KiB out of /proc/PID/status. */
export function kibOf(status: string, field: 'VmRSS' | 'VmHWM'): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN);
}

const tickUs = 10_000;
const hasSchedulerStatistics = existsSync('/proc/self/schedstat');

/** Microseconds of processor time that all threads of a process have used. */
export function cpuUs(pid: number): number {
  // A kernel without scheduler statistics counts in ticks.
  if (!hasSchedulerStatistics) return ticksOf(readFileSync(`/proc/${pid}/stat`, 'utf8')) * tickUs;
  const spent = readdirSync(`/proc/${pid}/task`).map((task) => threadNanoseconds(pid, task));
  return spent.reduce((sum, ns) => sum + ns, 0) / 1000;
}

function threadNanoseconds(pid: number, task: string): number {
  try {
    return nanosecondsOf(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8'));
  } catch {
    // It ended since the folder was read.
    return 0;
  }
}

export function residentKib(pid: number, which: 'now' | 'peak'): number {
  return kibOf(readFileSync(`/proc/${pid}/status`, 'utf8'), which === 'now' ? 'VmRSS' : 'VmHWM');
}
