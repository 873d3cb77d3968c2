import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';

/** The note beside a database that says which process holds it. The lock itself is the operating system's. */
interface Holder {
  readonly pid: number;
  /** ISO 8601 in UTC. */
  readonly since: string;
  readonly command: string;
}

const holderPath = (databasePath: string): string => `${databasePath}.holder`;

/** How this process was called, up to the first option: those may carry secrets. Call it on the main thread. */
export function thisCommand(): string {
  const given = process.argv.slice(2);
  const end = given.findIndex((word) => word.startsWith('-'));
  const words = (end < 0 ? given : given.slice(0, end)).filter((word) => /^[a-z][a-z-]{0,20}$/.test(word));
  return [basename(process.argv[1] ?? 'node'), ...words.slice(0, 3)].join(' ');
}

export function writeHolder(databasePath: string, command: string, now: number): void {
  const holder: Holder = { pid: process.pid, since: new Date(now).toISOString(), command };
  try {
    writeFileSync(holderPath(databasePath), `${JSON.stringify(holder)}\n`, { mode: 0o600 });
  } catch {
    // On a full disk a second opener gets a message with less detail.
  }
}

export function removeHolder(databasePath: string): void {
  rmSync(holderPath(databasePath), { force: true });
}

/** A phrase that names the holder, for an error message. */
export function describeHolder(databasePath: string): string {
  try {
    const { pid, since, command } = JSON.parse(readFileSync(holderPath(databasePath), 'utf8')) as Holder;
    return `process ${pid} (${command}), since ${since}`;
  } catch {
    return 'another process';
  }
}
