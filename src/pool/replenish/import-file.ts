import { randomBytes, randomUUID } from 'node:crypto';
import { watch } from 'node:fs';
import { basename } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type ImportLine, parseImport } from '../../pool-api/import-format.ts';
import type { Adding } from '../accounts/adding.ts';
import { type Admission, importGiven } from '../accounts/transfer.ts';
import { compareAndSet } from '../base/facts.ts';
import type { Batch } from './batch.ts';
import { createDropFolder, type DropFolder, type TakenFile } from './drop-folder.ts';
import type { Source, SourceTools } from './source.ts';

export interface FileSourceSettings {
  readonly type: 'file';
  readonly name: string;
  /** A file, or a folder of files, in the import format. */
  readonly path: string;
}

/** How far a taken file has been read: a fact, so that the next reader after a crash or a full pool begins there. */
interface Progress {
  /** Who reads it, and until when no other instance does. */
  readonly by: string;
  readonly until: number;
  /** Every line before this one is dealt with. */
  readonly next: number;
  readonly added: number;
  readonly duplicates: number;
}

/** What taken files are known by as this pool's, whichever instance took them. */
const poolMarkFact = 'pool_mark';
/** Longer than a batch of lines takes. */
const claimMs = 120_000;
const linesAtOnce = 3;
/** Lines that are read in one turn of the event loop. */
const linesRead = 500;
/** After this long a dropped file stands still. */
const newsAfterMs = 2100;

/** Files in the import format that are dropped at a place: each is taken once, and its lines as room allows. */
export class FileSource implements Source {
  readonly name: string;
  readonly type = 'file';
  readonly restsWhenEmpty = false;
  readonly #path: string;
  readonly #tools: SourceTools;
  readonly #instance: string;
  #folder: DropFolder | undefined;

  constructor({ name, path }: FileSourceSettings, tools: SourceTools) {
    this.name = name;
    this.#path = path;
    this.#tools = tools;
    // One process alone has this database: what is claimed by another one is claimed by a dead one.
    this.#instance = tools.basics.store.isShared ? randomUUID() : 'the only one';
  }

  async fetch(batch: Batch): Promise<void> {
    this.#folder ??= await this.#openFolder();
    const folder = this.#folder;
    for (const file of await folder.unfinished()) {
      if (batch.wanted === 0) return;
      await this.#fetchFrom(folder, file, batch);
    }
    for (const dropped of await folder.ready()) {
      if (batch.wanted === 0) return;
      const file = await folder.take(dropped);
      if (file !== null) await this.#fetchFrom(folder, file, batch);
    }
  }

  /** Rounds of housekeeping look in any case; this only makes it sooner. */
  watch(onNews: () => void): () => void {
    const { clock, logger } = this.#tools.basics;
    let stopTimer = (): void => {};
    try {
      const watcher = watch(this.#path, { persistent: false }, () => {
        stopTimer();
        stopTimer = clock.after(newsAfterMs, onNews);
      });
      watcher.on('error', (error) =>
        logger.debug({ err: error, source: this.name }, 'a place is not watched any more'),
      );
      return () => {
        stopTimer();
        watcher.close();
      };
    } catch (error) {
      const message = 'a place cannot be watched; it is looked at now and then';
      logger.debug({ err: error, source: this.name }, message);
      return () => {};
    }
  }

  async #fetchFrom(folder: DropFolder, file: TakenFile, batch: Batch): Promise<void> {
    let progress = await this.#claim(file);
    if (progress === null) return;
    const found = await folder.read(file);
    if (found === null) return void (await this.#write(file, null));
    const { good, bad } = await sortLines(found.text, this.#tools.adding);
    if (progress.next === 1) {
      if (found.isOpen) {
        const message = 'others on this machine may read this file of credentials: drop files with mode 600';
        this.#tools.basics.logger.warn({ source: this.name, file: file.name }, message);
      }
      for (const { line, reason } of bad) batch.fault(`${file.name} line ${line}: ${reason}`);
    }
    for (let from = 0; ; ) {
      while (from < good.length && (good[from]?.line ?? 0) < progress.next) from += 1;
      if (from === good.length) break;
      const lines = good.slice(from, from + Math.min(linesAtOnce, batch.wanted));
      if (lines.length === 0) return void (await this.#write(file, progress, 0));
      const done = await Promise.all(lines.map((line) => this.#bring(line, file, batch)));
      progress = advanced(progress, lines, done);
      const isFull = done.some(({ result }) => result === 'no_room');
      if (!(await this.#write(file, progress, isFull ? 0 : claimMs)) || isFull) return;
    }
    const { added, duplicates } = progress;
    const at = new Date(this.#tools.basics.clock.now()).toISOString();
    const lines = good.length + bad.length;
    await folder.finish(file, { at, lines, added, duplicates, refused: bad.length }, bad);
    await this.#write(file, null);
  }

  #bring({ line, account }: GoodLine, file: TakenFile, batch: Batch): Promise<Admission> {
    const label = `${file.name} line ${line}`;
    const take = () => importGiven(this.#tools, account, this.name, batch.actor);
    return account.standby ? batch.hold(label, take) : batch.admit(label, take);
  }

  /** Null when another instance reads it. */
  #claim(file: TakenFile): Promise<Progress | null> {
    const { store, clock } = this.#tools.basics;
    return compareAndSet(store, this.#factOf(file), async (text) => {
      const none = { by: this.#instance, until: 0, next: 1, added: 0, duplicates: 0 };
      const present: Progress = text === null ? none : JSON.parse(text);
      if (present.by !== this.#instance && present.until > clock.now()) return { answer: null };
      const answer = { ...present, by: this.#instance, until: clock.now() + claimMs };
      return { value: JSON.stringify(answer), answer };
    });
  }

  /** Keeps how far it is read, lets it go (after 0 ms), or forgets it. False when another instance has taken over. */
  #write(file: TakenFile, progress: Progress | null, forMs = claimMs): Promise<boolean> {
    const { store, clock } = this.#tools.basics;
    return compareAndSet(store, this.#factOf(file), async (text) => {
      const isMine = text !== null && (JSON.parse(text) as Progress).by === this.#instance;
      if (!isMine) return { answer: false };
      const until = forMs === 0 ? 0 : clock.now() + forMs;
      return { value: progress && JSON.stringify({ ...progress, until }), answer: true };
    });
  }

  #factOf(file: TakenFile): string {
    return `taking:${this.name}:${basename(file.path)}`;
  }

  async #openFolder(): Promise<DropFolder> {
    const { store, clock } = this.#tools.basics;
    const mark = await compareAndSet(store, poolMarkFact, async (text) => {
      const value = text ?? randomBytes(4).toString('hex');
      return { value, answer: value };
    });
    return createDropFolder(this.#path, mark, clock.now);
  }
}

type GoodLine = Extract<ImportLine, { account: unknown }>;

interface SortedLines {
  readonly good: readonly GoodLine[];
  readonly bad: readonly { readonly line: number; readonly reason: string; readonly text: string }[];
}

/** Which lines can be accounts is found out without asking its provider, so that a file read again gives the same. */
async function sortLines(text: string, adding: Adding): Promise<SortedLines> {
  const raw = text.split('\n');
  const good: GoodLine[] = [];
  const bad: { line: number; reason: string; text: string }[] = [];
  for (let start = 0; start < raw.length; start += linesRead) {
    for (const read of parseImport(raw.slice(start, start + linesRead).join('\n'))) {
      const one = { ...read, line: read.line + start };
      const fault = 'problem' in one ? one.problem : adding.faultOf(one.account);
      if (fault === null && 'account' in one) good.push(one);
      else bad.push({ line: one.line, reason: fault ?? '', text: raw[one.line - 1] ?? '' });
    }
    // Lets other requests be answered.
    await setImmediate();
  }
  return { good, bad };
}

/** The progress after a batch: a line that there was no room for, and those after it, are still to come. */
function advanced(before: Progress, batch: readonly GoodLine[], done: readonly Admission[]): Progress {
  const without = done.findIndex(({ result }) => result === 'no_room');
  const dealt = without === -1 ? done : done.slice(0, without);
  const last = batch[dealt.length - 1]?.line;
  const number = (...results: Admission['result'][]): number =>
    dealt.filter(({ result }) => results.includes(result)).length;
  return {
    ...before,
    next: last === undefined ? before.next : last + 1,
    added: before.added + number('added', 'rejected'),
    duplicates: before.duplicates + number('duplicate'),
  };
}
