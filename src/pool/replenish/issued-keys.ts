import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import type { KeyIssuer } from '../../core/provider.ts';
import { backoffMs } from '../../lib/backoff.ts';
import { type Admission, importAccount } from '../accounts/transfer.ts';
import { type Fact, Facts } from '../base/facts.ts';
import { defaultSettings } from '../base/present.ts';
import type { Store, StoredAccount } from '../store/store.ts';
import { sealedFactPrefix } from '../vault/vault.ts';
import type { Batch } from './batch.ts';
import { type Source, SourceError, type SourceTools } from './source.ts';

interface IssuedKeysSettings {
  readonly type: string;
  readonly name: string;
  readonly provider: string;
  readonly issuer: KeyIssuer;
}

/** One key at a vendor, from before it is asked for until it is deleted there: nothing in between can lose it. */
const issuedKey = z.object({
  /** What it is called at the vendor. */
  name: z.string(),
  /** When it last changed. */
  at: z.number(),
  /** What the vendor deletes it by; null as long as it is not known to have been made. */
  handle: z.string().nullable(),
  /** The key itself, until an account holds it. */
  key: z.string().nullable(),
  accountId: z.string().nullable(),
  /** Attempts in a row to delete it that failed, and when the next is due. */
  failures: z.int(),
  retryAt: z.number(),
});
type IssuedKey = z.infer<typeof issuedKey>;
type JournalEntry = Fact<IssuedKey>;

const journalPrefix = `${sealedFactPrefix}issued:`;

/** After these the vendor has surely made no key. */
const nothingMade: readonly ErrorCode[] = [
  'upstream_unauthorized',
  'upstream_refused',
  'upstream_rate_limited',
  'invalid_request',
];
const keysAtOnce = 3;
/** Until then another instance may be working on it, or a request of ours still running at the vendor. */
const settledAfterMs = 60_000;
const firstRetryMs = 60_000;
const longestRetryMs = 3_600_000;

/**
 * Keys that a vendor's own key-management API makes for the owner. A key that becomes no account, or whose account is
 * removed, is deleted at the vendor.
 */
export class IssuedKeysSource implements Source {
  readonly name: string;
  readonly type: string;
  readonly restsWhenEmpty = true;
  readonly #provider: string;
  readonly #issuer: KeyIssuer;
  readonly #tools: SourceTools;
  readonly #journal: Facts<IssuedKey>;
  /** Facts that this process works on. */
  readonly #running = new Set<string>();

  constructor({ name, type, provider, issuer }: IssuedKeysSettings, tools: SourceTools) {
    this.name = name;
    this.type = type;
    this.#provider = provider;
    this.#issuer = issuer;
    this.#tools = tools;
    const { store, vault } = tools.basics;
    this.#journal = new Facts(store, `${journalPrefix}${name}:`, issuedKey, vault);
  }

  async fetch(batch: Batch): Promise<void> {
    while (batch.wanted > 0) {
      const count = Math.min(keysAtOnce, batch.wanted);
      const ends = await Promise.allSettled(
        Array.from({ length: count }, () => batch.admit(`a key of ${this.name}`, () => this.#issue(batch))),
      );
      const error: unknown = ends.find((end) => end.status === 'rejected')?.reason;
      if (error instanceof AppError) throw new SourceError(error.message, { cause: error });
      if (error !== undefined) throw error;
      // A vendor whose keys do not work would make one after the other.
      if (!ends.some((end) => end.status === 'fulfilled' && end.value.result === 'added')) {
        throw new SourceError('none of the keys it made can be used');
      }
    }
  }

  async recover(): Promise<void> {
    for (const entry of await this.#journal.all()) await this.#tidy(entry);
  }

  async removed(account: StoredAccount): Promise<void> {
    if (account.sourceHandle === null) return;
    const entry = (await this.#journal.all()).find(({ value }) => value.accountId === account.id);
    if (entry !== undefined) await this.#revoke(entry);
  }

  async #issue({ actor, signal }: Batch): Promise<Admission> {
    const name = `warp2api-${randomUUID().slice(0, 13)}`;
    const at = this.#tools.basics.clock.now();
    const key = { name, at, handle: null, key: null, accountId: null, failures: 0, retryAt: at };
    const entry = await this.#journal.add(randomUUID(), key);
    this.#running.add(entry.name);
    try {
      let made: Awaited<ReturnType<KeyIssuer['issue']>>;
      try {
        made = await this.#issuer.issue(name, signal);
      } catch (error) {
        if (error instanceof AppError && nothingMade.includes(error.code)) await this.#journal.forget(entry);
        throw error;
      }
      const kept = await this.#write(entry, { handle: made.handle, key: made.apiKey });
      if (kept === null) throw new Error(`another process has changed the journal of ${name}`);
      return await this.#settle(kept, actor, false);
    } finally {
      this.#running.delete(entry.name);
    }
  }

  /** Makes an account of a key that is in the journal. */
  async #settle(entry: JournalEntry, actor: string, isStandby: boolean): Promise<Admission> {
    const { name, handle, key } = entry.value;
    const added = {
      provider: this.#provider,
      source: this.name,
      settings: { ...defaultSettings, label: name },
      sourceHandle: handle ?? undefined,
    };
    const credential = { kind: 'api_key', key: key ?? '' } as const;
    const admission = await importAccount(this.#tools, added, credential, actor, isStandby);
    if (admission.result === 'failed') {
      const freed = await this.#write(entry, { key: null });
      if (freed !== null) await this.#revoke(freed);
    } else await this.#write(entry, { key: null, accountId: admission.id });
    return admission;
  }

  /** Deletes a key at the vendor and forgets it; when that fails it is tried again later. */
  async #revoke(entry: JournalEntry): Promise<void> {
    const { store, clock, logger } = this.#tools.basics;
    const { name: key, handle: known, failures, accountId } = entry.value;
    const source = this.name;
    try {
      const handle = known ?? (await this.#issuer.find(key));
      if (handle !== null) {
        await this.#issuer.revoke(handle);
        const audit = { actor: 'housekeeper', action: 'key-revoked', accountId, detail: { source, key } };
        await store.note(clock.now(), audit);
      }
      await this.#journal.forget(entry);
    } catch (error) {
      const retryAt = clock.now() + backoffMs(failures, firstRetryMs, longestRetryMs);
      await this.#write(entry, { failures: failures + 1, retryAt });
      logger.warn({ err: error, source, key }, 'a key could not be deleted at its vendor; it is tried again');
    }
  }

  /** Null when another instance has changed it since. */
  #write(entry: JournalEntry, change: Partial<IssuedKey>): Promise<JournalEntry | null> {
    return this.#journal.replace(entry, { ...entry.value, ...change, at: this.#tools.basics.clock.now() });
  }

  async #tidy(entry: JournalEntry): Promise<void> {
    const { store, clock, logger } = this.#tools.basics;
    const { key, accountId, at, retryAt } = entry.value;
    if (this.#running.has(entry.name) || retryAt > clock.now()) return;
    if (accountId !== null) {
      if ((await store.account(clock.now(), accountId)) === null) await this.#revoke(entry);
      return;
    }
    // No other instance can be working on it, or it has been left long enough.
    const isLeft = at <= clock.now() - settledAfterMs;
    if (key !== null && (isLeft || !store.isShared)) {
      await this.#settle(entry, 'housekeeper', true);
      const message = 'a key that was made and not used is in standby now';
      logger.info({ source: this.name, key: entry.value.name }, message);
    } else if (key === null && isLeft) await this.#revoke(entry);
  }
}

/** Sources that have made keys, with how many there are: also sources that are not configured any more. */
export async function keysBySource(store: Store): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const { name } of await store.rememberedUnder(journalPrefix)) {
    const source = name.slice(journalPrefix.length).split(':', 1)[0] ?? '';
    counts.set(source, (counts.get(source) ?? 0) + 1);
  }
  return counts;
}
