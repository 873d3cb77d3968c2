import { readFileSync } from 'node:fs';

export interface LinuxProcess {
  /** Of the program, at most 15 characters. */
  readonly name: string;
  /** It has ended, and its parent has not asked for its end yet. */
  readonly isZombie: boolean;
  readonly parent: number;
  /** In ticks since the machine started: tells it from another process that gets the same id later. */
  readonly started: string;
}

/** Undefined for a process that is not there, and on other systems. */
export function linuxProcess(pid: number): LinuxProcess | undefined {
  try {
    const [, name = '', rest = ''] =
      /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? [];
    const fields = rest.split(' ');
    return { name, isZombie: fields[0] === 'Z', parent: Number(fields[1]), started: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}
