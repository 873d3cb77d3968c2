import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../log/logger.ts';

/**
 * Undefined for a process that is not there, and on other systems. `name`: of the program, at most 15 characters; `isZombie`: it has
 * ended, and its parent has not asked for its end yet; `started`: in ticks since the machine started, which tells it from another
 * process that gets the same id later.
 */
export function linuxProcess(pid: number) {
  try {
    const [, name = '', rest = ''] =
      /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? [];
    const fields = rest.split(' ');
    return { name, isZombie: fields[0] === 'Z', parent: Number(fields[1]), started: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}

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

/** A signal that comes again within this time is the terminal's own and the same one passed on, where a starter passes it on. */
const repeatedMs = 1000;
const lookMs = 500;

/** A script that npm and its like run for this service alone, last and not in the background. npx names the program only. */
const scriptOfService = /(^|[\s/'"])warp2api(\.js)?['"]?(\s+['"]?serve\b[^&|;]*)?$/;

/** The processes that pass signals on to this one, by their ids: its parent, and npm where that is a shell of npm's. */
export interface Starter {
  readonly parent: number;
  readonly npm?: number | undefined;
}

/**
 * Without its starter this process could not be stopped the way it was started: an older Node that has handed over, or npm and its like.
 * Undefined where there is none.
 */
export function starterOf(environment: NodeJS.ProcessEnv): Starter | undefined {
  const { WARP2API_STARTED_BY: handedOver, npm_lifecycle_script: script = '' } = environment;
  if (handedOver !== undefined) return { parent: Number(handedOver) };
  if (!scriptOfService.test(script)) return undefined;
  const parent = linuxProcess(process.ppid);
  const isShell = parent !== undefined && /^(|ba|da|z|k|a)sh$/.test(parent.name);
  return { parent: process.ppid, npm: isShell ? parent.parent : undefined };
}

/** The command that a person gave, where that was not this program's own: `npm start`, `npx`. */
export function startedBy(environment: NodeJS.ProcessEnv): string | undefined {
  const { npm_lifecycle_script: script = '', npm_lifecycle_event: event = '' } = environment;
  if (!scriptOfService.test(script)) return undefined;
  return event === 'npx' ? 'npx' : event === 'start' ? 'npm start' : `npm run ${event}`;
}

function hasEnded({ parent, npm }: Starter): boolean {
  if (process.ppid !== parent) return true;
  return npm !== undefined && linuxProcess(parent)?.parent !== npm;
}

/**
 * Resolves at the first of the signals, or when the starter has ended: killed at once, it could pass nothing on. A second signal
 * ends the process as if it had never been caught.
 */
export function stopSignal(
  signals: readonly NodeJS.Signals[],
  starter: Starter | undefined,
  logger: Logger,
): Promise<void> {
  return new Promise((resolve) => {
    let stoppingSince: number | undefined;
    let look: NodeJS.Timeout | undefined;
    const stop = (reason: object) => {
      if (stoppingSince !== undefined) return;
      stoppingSince = performance.now();
      clearInterval(look);
      logger.info(reason, 'stopping');
      resolve();
    };
    const onSignal = (signal: NodeJS.Signals) => {
      const since = stoppingSince === undefined ? undefined : performance.now() - stoppingSince;
      if (since === undefined) {
        stop({ signal });
      } else if (starter === undefined || since > repeatedMs) {
        for (const other of signals) process.off(other, onSignal);
        process.kill(process.pid, signal);
      }
    };
    for (const signal of signals) process.on(signal, onSignal);
    if (starter === undefined) return;
    look = setInterval(() => {
      if (hasEnded(starter)) stop({ reason: 'what started it has ended' });
    }, lookMs).unref();
  });
}
