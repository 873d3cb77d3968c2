import { randomBytes, randomUUID } from 'node:crypto';
import { watch } from 'node:fs';
import { basename } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type ImportLine, parseImport } from '../../pool-api/import-format.ts';
import { settingsOf } from '../account-settings.ts';
import { changeFact } from '../swap-fact.ts';
import { type Adopt, credentialOf, type SourceTools } from './adopt.ts';
import { createDropFolder, type DropFolder, type TakenFile } from './drop-folder.ts';
import type { Admission, Draw, Source } from './source.ts';

export interface FileSourceSettings {
  readonly type: 'file';
  readonly name: string;
  /** A file, or a folder of files, in the import format. */
  readonly path: string;
}

/** How far a taken file has been read: a fact, so that whoever goes on after a crash or a full pool begins there. */
interface Progress {
  /** Who reads it, and until when nobody else does. */
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
export function createFileSource(settings: FileSourceSettings, { context, adopt }: SourceTools): Source {
  const { store, clock, logger } = context;
  const { name, path } = settings;
  let opened: Promise<DropFolder> | undefined;
  // One process alone has this database: what is claimed by another one is claimed by a dead one.
  const instance = store.isShared ? randomUUID() : 'the only one';

  const openFolder = async (): Promise<DropFolder> => {
    const mark = await changeFact(store, poolMarkFact, async (text) => {
      const value = text ?? randomBytes(4).toString('hex');
      return { value, answer: value };
    });
    return createDropFolder(path, mark, clock.now);
  };
  const folderOnce = (): Promise<DropFolder> => {
    opened ??= openFolder().catch((error: unknown) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };

  const factOf = (file: TakenFile): string => `taking:${name}:${basename(file.path)}`;
  const progressIn = (text: string | null): Progress =>
    text === null
      ? { by: instance, until: 0, next: 1, added: 0, duplicates: 0 }
      : (JSON.parse(text) as Progress);

  /** Null when another instance reads it. */
  const claim = (file: TakenFile): Promise<Progress | null> =>
    changeFact(store, factOf(file), async (text) => {
      const present = progressIn(text);
      if (present.by !== instance && present.until > clock.now()) return { answer: null };
      const mine = { ...present, by: instance, until: clock.now() + claimMs };
      return { value: JSON.stringify(mine), answer: mine };
    });

  /** False when another instance has taken over meanwhile. */
  const write = (file: TakenFile, progress: Progress): Promise<boolean> =>
    changeFact(store, factOf(file), async (text) => {
      if (progressIn(text).by !== instance) return { answer: false };
      return { value: JSON.stringify({ ...progress, until: clock.now() + claimMs }), answer: true };
    });

  const letGo = (file: TakenFile): Promise<void> =>
    changeFact(store, factOf(file), async (text) => {
      const present = progressIn(text);
      if (text === null || present.by !== instance) return { answer: undefined };
      return { value: JSON.stringify({ ...present, until: 0 }), answer: undefined };
    });

  const bring = ({ line, account }: GoodLine, file: TakenFile, draw: Draw): Promise<Admission> => {
    const label = `${file.name} line ${line}`;
    const isStandby = account.standby ?? false;
    const take = () =>
      adopt(
        { provider: account.provider, source: name, settings: settingsOf(account) },
        credentialOf(account),
        draw.actor,
        { isStandby },
      );
    return isStandby ? draw.shelve(label, take) : draw.admit(label, take);
  };

  const forget = (file: TakenFile): Promise<void> =>
    changeFact(store, factOf(file), async (text) =>
      progressIn(text).by === instance ? { value: null, answer: undefined } : { answer: undefined },
    );

  const finish = async (
    folder: DropFolder,
    file: TakenFile,
    sorted: SortedLines,
    { added, duplicates }: Progress,
  ): Promise<void> => {
    const { good, bad } = sorted;
    const at = new Date(clock.now()).toISOString();
    const lines = good.length + bad.length;
    await folder.finish(file, { at, lines, added, duplicates, refused: bad.length }, bad);
    await forget(file);
  };

  const drawFrom = async (folder: DropFolder, file: TakenFile, draw: Draw): Promise<void> => {
    let progress = await claim(file);
    if (progress === null) return;
    const found = await folder.read(file);
    if (found === null) return forget(file);
    const { text, isOpen } = found;
    const sorted = await sortLines(text, adopt);
    if (progress.next === 1) {
      if (isOpen) {
        const message = 'others on this machine may read this file of credentials: drop files with mode 600';
        logger.warn({ source: name, file: file.name }, message);
      }
      for (const { line, reason } of sorted.bad) draw.fault(`${file.name} line ${line}: ${reason}`);
    }
    for (let from = 0; ; ) {
      const { good } = sorted;
      while (from < good.length && (good[from]?.line ?? 0) < progress.next) from += 1;
      if (from === good.length) return finish(folder, file, sorted, progress);
      const batch = good.slice(from, from + Math.min(linesAtOnce, draw.wanted()));
      if (batch.length === 0) return letGo(file);
      const done = await Promise.all(batch.map((line) => bring(line, file, draw)));
      progress = advanced(progress, batch, done);
      if (!(await write(file, progress))) return;
      if (done.some(({ result }) => result === 'no_room')) return letGo(file);
    }
  };

  return {
    name,
    type: settings.type,
    restsWhenEmpty: false,

    async draw(draw) {
      const folder = await folderOnce();
      for (const file of await folder.unfinished()) {
        if (draw.wanted() === 0) return;
        await drawFrom(folder, file, draw);
      }
      for (const dropped of await folder.ready()) {
        if (draw.wanted() === 0) return;
        const file = await folder.take(dropped);
        if (file !== null) await drawFrom(folder, file, draw);
      }
    },

    /** Rounds of housekeeping look in any case; this only makes it sooner. */
    watch(onNews) {
      let stopTimer = (): void => {};
      try {
        const watcher = watch(path, { persistent: false }, () => {
          stopTimer();
          stopTimer = clock.after(newsAfterMs, onNews);
        });
        watcher.on('error', (error) =>
          logger.debug({ err: error, source: name }, 'a place is not watched any more'),
        );
        return () => {
          stopTimer();
          watcher.close();
        };
      } catch (error) {
        logger.debug({ err: error, source: name }, 'a place cannot be watched; it is looked at now and then');
        return () => {};
      }
    },
  };
}

type GoodLine = Extract<ImportLine, { account: unknown }>;

interface SortedLines {
  readonly good: readonly GoodLine[];
  readonly bad: readonly { readonly line: number; readonly reason: string; readonly text: string }[];
}

/** Which lines can be accounts is found out without asking anybody, so that a file read again gives the same. */
async function sortLines(text: string, adopt: Pick<Adopt, 'faultOf'>): Promise<SortedLines> {
  const raw = text.split('\n');
  const good: GoodLine[] = [];
  const bad: { line: number; reason: string; text: string }[] = [];
  for (let start = 0; start < raw.length; start += linesRead) {
    for (const read of parseImport(raw.slice(start, start + linesRead).join('\n'))) {
      const one = { ...read, line: read.line + start };
      const fault = 'problem' in one ? one.problem : adopt.faultOf(one.account);
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
