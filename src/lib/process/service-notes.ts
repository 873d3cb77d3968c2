import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { linuxProcess } from './linux-process.ts';

/** What each running service writes into its DATA_DIR, by which start_services.sh and stop_services.sh find it however it was started. */

export interface ServiceNote {
  readonly pid: number;
  readonly service: 'both' | 'pool' | 'gateway';
  /** The folder of the program, to leave those of other checkouts alone. */
  readonly root: string;
  /** Where it listens; the pool of a service that holds it for itself has no address. */
  readonly urls: readonly string[];
  readonly holdsPool: boolean;
  /** Such as `npm start`. */
  readonly startedBy?: string | undefined;
}

const notePattern = /^service\.\d+\.json$/;

/** Never fails: the service runs without it. */
export function writeNote(folder: string, note: Omit<ServiceNote, 'pid'>): void {
  const text = JSON.stringify({ pid: process.pid, ...note, started: startOf(process.pid) });
  try {
    for (const { file, note: other, isRunning } of allNotes(folder)) {
      if (other !== undefined && !isRunning) rmSync(file, { force: true });
    }
    writeFileSync(fileOf(folder), `${text}\n`, { mode: 0o600 });
  } catch {
    // On a full or a read-only disk the pid files of start_services.sh have to do.
  }
}

export function removeNote(folder: string): void {
  try {
    rmSync(fileOf(folder), { force: true });
  } catch {
    // Where there is no such folder there is no note; the next service finds one that cannot be removed out of date.
  }
}

/** Of the services that run. */
export function readNotes(folder: string): ServiceNote[] {
  return allNotes(folder).flatMap(({ note, isRunning }) => (note !== undefined && isRunning ? [note] : []));
}

const fileOf = (folder: string): string => join(folder, `service.${process.pid}.json`);

function allNotes(folder: string) {
  let names: string[] = [];
  try {
    names = readdirSync(folder).filter((name) => notePattern.test(name));
  } catch {
    // No service has made the folder yet.
  }
  return names.map((name) => {
    const file = join(folder, name);
    try {
      const note = JSON.parse(readFileSync(file, 'utf8')) as ServiceNote & { readonly started?: string };
      // Where no start is known, as on Windows, a later process may have the id.
      const isRunning = note.started !== undefined && startOf(note.pid) === note.started;
      return { file, note, isRunning };
    } catch {
      return { file, note: undefined, isRunning: false };
    }
  });
}

/** When a process was started, to tell it from a later one with the same id; undefined where none has the id. */
function startOf(pid: number): string | undefined {
  if (process.platform === 'linux') {
    const found = linuxProcess(pid);
    return found?.isZombie === false ? found.started : undefined;
  }
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: 'pipe',
    }).trim();
  } catch {
    return undefined;
  }
}
