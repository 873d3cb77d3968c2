import { randomUUID } from 'node:crypto';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import type { KeyIssuer } from '../../core/provider.ts';
import { backoffMs } from '../../lib/backoff.ts';
import { defaultSettings } from '../account-settings.ts';
import type { SourceTools } from './adopt.ts';
import { createKeyJournal, type JournalEntry } from './key-journal.ts';
import { type Admission, type Draw, type Source, SourceError } from './source.ts';

export interface IssuedKeysSettings {
  readonly type: string;
  readonly name: string;
  /** Whose keys they are. */
  readonly provider: string;
  readonly issuer: KeyIssuer;
}

/** After these the vendor has surely made no key. */
const nothingMade: readonly ErrorCode[] = [
  'upstream_unauthorized',
  'upstream_refused',
  'upstream_rate_limited',
  'invalid_request',
];
const keysAtOnce = 3;
/** Until then another instance may be at it, or a request of ours still under way at the vendor. */
const settledAfterMs = 60_000;
const firstRetryMs = 60_000;
const longestRetryMs = 3_600_000;

/**
 * Keys that a vendor's own key-management API makes for the owner. A key that becomes no account, or whose account is
 * removed, is deleted at the vendor.
 */
export function createIssuedKeysSource(
  settings: IssuedKeysSettings,
  { context, adopt }: SourceTools,
): Source {
  const { name, provider, issuer } = settings;
  const { store, clock, logger } = context;
  const journal = createKeyJournal(name, context);
  /** Facts that this process is at. */
  const underWay = new Set<string>();

  const take = (entry: JournalEntry, key: string, actor: string, isStandby: boolean) =>
    adopt(
      {
        provider,
        source: name,
        settings: { ...defaultSettings, label: entry.key.name },
        ...(entry.key.handle === null ? {} : { sourceHandle: entry.key.handle }),
      },
      { kind: 'api_key', key },
      actor,
      { isStandby },
    );

  /** Makes an account of a key that is in the journal. */
  const settle = async (entry: JournalEntry, actor: string, isStandby: boolean): Promise<Admission> => {
    const admission = await take(entry, entry.key.key ?? '', actor, isStandby);
    if (admission.result === 'failed') {
      const freed = await journal.write(entry, { key: null });
      if (freed !== null) await revoke(freed);
    } else await journal.write(entry, { key: null, accountId: admission.id });
    return admission;
  };

  const issue = async (draw: Draw): Promise<Admission> => {
    const entry = await journal.begin(`warp2api-${randomUUID().slice(0, 13)}`);
    underWay.add(entry.fact);
    try {
      let made: Awaited<ReturnType<KeyIssuer['issue']>>;
      try {
        made = await issuer.issue(entry.key.name, draw.signal);
      } catch (error) {
        if (error instanceof AppError && nothingMade.includes(error.code)) await journal.forget(entry);
        throw error;
      }
      const kept = await journal.write(entry, { handle: made.handle, key: made.apiKey });
      if (kept === null) throw new Error(`the journal of ${entry.key.name} was changed by somebody else`);
      return await settle(kept, draw.actor, false);
    } finally {
      underWay.delete(entry.fact);
    }
  };

  /** Deletes a key at the vendor and forgets it; when that fails it is tried again later. */
  const revoke = async (entry: JournalEntry): Promise<void> => {
    const { name: keyName, handle: known, failures } = entry.key;
    try {
      const handle = known ?? (await issuer.find(keyName));
      if (handle !== null) {
        await issuer.revoke(handle);
        const detail = { source: name, key: keyName };
        await store.note(clock.now(), {
          actor: 'housekeeper',
          action: 'key-revoked',
          accountId: entry.key.accountId,
          detail,
        });
      }
      await journal.forget(entry);
    } catch (error) {
      const retryAt = clock.now() + backoffMs(failures, firstRetryMs, longestRetryMs);
      await journal.write(entry, { failures: failures + 1, retryAt });
      logger.warn(
        { err: error, source: name, key: keyName },
        'a key could not be deleted at its vendor; it is tried again',
      );
    }
  };

  const tidy = async (entry: JournalEntry): Promise<void> => {
    const { key, accountId, at, retryAt } = entry.key;
    if (underWay.has(entry.fact) || retryAt > clock.now()) return;
    if (accountId !== null) {
      if ((await store.account(clock.now(), accountId)) === null) await revoke(entry);
      return;
    }
    // Nobody else could be at it, or it has been left long enough.
    const isLeft = at <= clock.now() - settledAfterMs;
    if (key !== null && (isLeft || !store.isShared)) {
      await settle(entry, 'housekeeper', true);
      logger.info(
        { source: name, key: entry.key.name },
        'a key that was made and not used is in standby now',
      );
    } else if (key === null && isLeft) await revoke(entry);
  };

  context.onRemoved.push(async (account) => {
    if (account.source !== name || account.sourceHandle === null) return;
    const entry = (await journal.all()).find(({ key }) => key.accountId === account.id);
    if (entry !== undefined) await revoke(entry);
  });

  return {
    name,
    type: settings.type,
    restsWhenEmpty: true,
    async recover() {
      for (const entry of await journal.all()) await tidy(entry);
    },
    async draw(draw) {
      while (draw.wanted() > 0) {
        const count = Math.min(keysAtOnce, draw.wanted());
        const ends = await Promise.allSettled(
          Array.from({ length: count }, () => draw.admit(`a key of ${name}`, () => issue(draw))),
        );
        for (const end of ends) if (end.status === 'rejected') throw sourceErrorFrom(end.reason);
        // A vendor whose keys do not work would make one after the other.
        if (!ends.some((end) => end.status === 'fulfilled' && end.value.result === 'added')) {
          throw new SourceError('none of the keys it made can be used');
        }
      }
    },
  };
}

function sourceErrorFrom(error: unknown): unknown {
  return error instanceof AppError ? new SourceError(error.message, { cause: error }) : error;
}
