import { maxEntryBytes } from './keep.ts';

/** How the room on disk is divided between a database file and its write-ahead log. */
export interface FileBounds {
  readonly database: number;
  /** The size at which the log is written back and begun again. */
  readonly checkpoint: number;
  /** What one transaction may add to the log. */
  readonly transaction: number;
}

/** No database is smaller than that. */
const minFileBytes = 1024 * 1024;
/** Heads of the log's frames, and pages that a transaction touches beside those it is there for. */
const slackShare = 1 / 50;
const slackBytes = 64 * 1024;

export function fileBoundsOf(maxBytes: number): FileBounds {
  const all = Math.max(maxBytes, minFileBytes);
  const log = Math.min(all / 3, maxEntryBytes * 1.5);
  const slack = all * slackShare + slackBytes;
  return { database: all - log - slack, checkpoint: log / 4, transaction: (log * 3) / 4 };
}

/** One entry larger than this is not kept: for a while it lies both in the log and in the database. */
export function maxEntryBytesIn(maxBytes: number): number {
  return Math.min(maxBytes, maxEntryBytes, fileBoundsOf(maxBytes).transaction);
}
