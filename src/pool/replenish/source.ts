import type { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import { beginningOf, plainLine } from '../../lib/shown-text.ts';
import type { Login } from '../../pool-api/account-schema.ts';
import type { Adding } from '../accounts/adding.ts';
import type { Origin } from '../accounts/removal.ts';
import type { Basics } from '../base/basics.ts';
import type { Logins } from '../logins/logins.ts';
import type { Batch } from './batch.ts';

export interface SourceTools {
  readonly basics: Basics;
  readonly adding: Adding;
  readonly logins: Logins;
}

/** Where replenishing fetches accounts from. No source signs up for new accounts at a provider. */
export interface Source extends Origin {
  readonly type: string;
  /** Asking costs something, so that one that had nothing is left alone for a while. */
  readonly restsWhenEmpty: boolean;
  /** Brings in up to as many accounts as are wanted. Throws SourceError when the source as a whole failed. */
  fetch(batch: Batch): Promise<void>;
  /** Finishes what an earlier process, or an earlier attempt, left undone. Called at the start and every minute. */
  recover?(): Promise<void>;
  /** A login that waits for a person on this source's behalf. */
  pendingLogin?(): Promise<Login | null>;
  /** Calls back when there may be something new to fetch. The answer stops that. */
  watch?(onNews: () => void): () => void;
}

/** Why a source could not be fetched from. The message is shown to owners; it holds no secret. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}

/** Words so long and so mixed that they may be a key or a token, such as one that a source has just made. */
const secretLike = /[A-Za-z0-9_./+=-]{16,}/g;
const longest = 300;

/** Text from outside that may be shown to owners: one line, bounded, and no secret in it, known or likely. */
export function redacted(text: string, secrets: KnownSecrets): string {
  const clean = plainLine(
    secrets
      .redact(text)
      .replaceAll(secretLike, (word) => (/\d/.test(word) && /[A-Za-z]/.test(word) ? '[secret]' : word)),
  ).trim();
  return beginningOf(clean, longest);
}
