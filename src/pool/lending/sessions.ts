import { randomUUID } from 'node:crypto';
import { givenFields } from '../../core/null-fields.ts';
import { debugLog } from '../../lib/log/logger.ts';
import { PoolError } from '../../pool-api/errors.ts';
import { type SessionsAnswer, sessionsQuery } from '../../pool-api/owner-schema.ts';
import {
  type AllocateAnswer,
  allocateRequest,
  type EligibleAnswer,
  eligibleRequest,
  type ReleaseAnswer,
  releaseRequest,
  type Shortage,
} from '../../pool-api/schema.ts';
import type { Basics, Caller } from '../base/basics.ts';
import { sessionNotFound } from '../base/failures.ts';
import { isoTime, parse, presentLease, presentSession } from '../base/present.ts';
import type { EnsureResult, Short } from '../store/store.ts';
import type { LendingStore } from './lending-store.ts';
import type { WaitingRoom } from './waiting-room.ts';

/** An answer and the way to take back what this call added, for a caller that never got it. */
export interface Allocation {
  readonly answer: AllocateAnswer;
  undo(): Promise<void>;
}

/** Accounts of one call that a line of the log names. */
const mostLogged = 10;
const shortestRetryMs = 1000;
const longestRetryMs = 60_000;

/** What sessions hold. Every call throws PoolError. */
export class Sessions {
  readonly #basics: Basics;
  readonly #lending: LendingStore;
  readonly #room: WaitingRoom;

  constructor(basics: Basics, lending: LendingStore, room: WaitingRoom) {
    this.#basics = basics;
    this.#lending = lending;
    this.#room = room;
  }

  async allocate(caller: Caller, request: unknown, signal?: AbortSignal): Promise<Allocation> {
    const { clock, settings, credentials, logger } = this.#basics;
    const demand = parse(allocateRequest, request === undefined ? {} : request);
    if (demand.count > settings.maxPoolSize) {
      const message = `"count" may be 1 to ${settings.maxPoolSize}.`;
      throw new PoolError('invalid_request', message, { param: 'count' });
    }
    if (demand.exclusive && demand.slots > 1) {
      const message = '"slots" above 1 needs exclusive=false: an exclusive holder has the whole account.';
      throw new PoolError('invalid_request', message, { param: 'slots' });
    }
    const sessionId = demand.session_id ?? `sess_${randomUUID()}`;
    const begunAt = clock.monotonic();
    const result = await this.#room.enter(
      {
        sessionId,
        isNewSession: demand.session_id === undefined,
        owner: caller,
        count: demand.count,
        provider: demand.provider ?? null,
        model: demand.model ?? null,
        labels: demand.labels ?? null,
        exclusive: demand.exclusive,
        slots: demand.slots,
        ttlMs: demand.ttl_seconds === undefined ? null : demand.ttl_seconds * 1000,
        defaultTtlMs: settings.sessionTimeoutMs,
        exclude: demand.exclude ?? [],
        prefer: demand.prefer ?? null,
      },
      demand.wait_ms,
      signal,
    );
    const waited_ms = Math.round(clock.monotonic() - begunAt);
    const { count, provider, model, labels, exclusive, slots, prefer } = demand;
    const asked = { count, provider, model, labels, exclusive, slots, prefer };
    debugLog(logger)?.debug(
      { session_id: sessionId, ...asked, ...outcomeOf(result), waited_ms },
      'leases were asked for',
    );
    if (result.result === 'mismatch') {
      throw new PoolError('session_mismatch', result.message, { param: 'session_id' });
    }
    if (result.result === 'short') throw shortError(result, clock.now());
    const accounts = result.leases.map((lease) =>
      presentLease(lease, credentials.bearerOf(lease.account), clock.now()),
    );
    const held = accounts.length === 1 ? '1 account' : `${accounts.length} accounts`;
    return {
      answer: {
        success: true,
        created: result.created,
        session_id: sessionId,
        expires_at: isoTime(result.expiresAt),
        accounts,
        message: `The session holds ${held}.`,
        timestamp: isoTime(clock.now()),
      },
      undo: () => this.#room.giveBack(sessionId, result),
    };
  }

  /** Which accounts would do for a shared lease; nothing is lent. */
  async eligible(caller: Caller, request: unknown): Promise<EligibleAnswer> {
    const { provider, model, labels } = parse(eligibleRequest, request);
    const demand = { provider, owner: caller, model: model ?? null, labels: labels ?? null };
    const { accounts, ...counted } = await this.#lending.current.eligible(this.#basics.clock.now(), demand);
    const mayName = caller.isGateway || caller.role === 'admin';
    const named = mayName ? accounts : [];
    return {
      ...counted,
      accounts: named.map(({ id, models, ...account }) => ({
        account_id: id,
        models: models && [...models],
        ...account,
      })),
    };
  }

  async release(caller: Caller, request: unknown): Promise<ReleaseAnswer> {
    const { session_id: sessionId, leases } = parse(releaseRequest, request);
    const keyId = caller.isOwner === true ? null : caller.keyId;
    const { clock, logger } = this.#basics;
    const demand = { sessionId, keyId, leases: leases ?? null };
    const result = await this.#lending.current.release(clock.now(), demand);
    const released = result?.released ?? null;
    debugLog(logger)?.debug({ session_id: sessionId, released }, 'leases were given back');
    if (released === null) throw sessionNotFound();
    return { success: true, released };
  }

  /** For the owner, page by page. */
  async list(query: unknown): Promise<SessionsAnswer> {
    const { limit, after, account_id: accountId } = parse(sessionsQuery, givenFields(query));
    const now = this.#basics.clock.now();
    const page = await this.#lending.current.sessions(now, { limit, after, accountId });
    return {
      success: true,
      sessions: page.sessions.map(presentSession),
      total: page.total,
      next_after: page.nextAfter,
    };
  }
}

/** For the log: the accounts of the session, or why there are too few, in numbers. */
function outcomeOf(result: EnsureResult) {
  if (result.result === 'granted') {
    const accounts = result.leases.slice(0, mostLogged).map(({ account }) => account.id);
    return { result: result.result, accounts, added: result.added.length };
  }
  if (result.result === 'mismatch') return { result: result.result };
  return { result: result.result, free: result.shortage, skipped: result.skipped.length };
}

function shortError(short: Short, now: number): PoolError {
  const ahead = short.nextAt === null ? longestRetryMs : short.nextAt - now;
  const retryAfterMs = Math.min(longestRetryMs, Math.max(shortestRetryMs, ahead));
  return new PoolError('no_account_available', shortMessage(short.shortage), {
    retryAfterMs,
    shortage: short.shortage,
  });
}

function shortMessage({ matching, reasons }: Shortage): string {
  if (matching === 0)
    return 'No account in the pool matches this demand: add one, or ask for another provider, model or label.';
  const counts = Object.entries(reasons).map(([reason, count]) => `${count} ${reason.replaceAll('_', ' ')}`);
  const why = counts.length === 0 ? 'too few for this count' : counts.join(', ');
  return (
    `Too few free accounts: of ${matching} that match, ${why}. ` +
    'Try again after Retry-After, wait longer with wait_ms, or add accounts.'
  );
}
