import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import { givenFields } from '../core/null-fields.ts';
import { debugLog } from '../lib/logger.ts';
import { PoolError } from '../pool-api/errors.ts';
import {
  type AllocateAnswer,
  allocateRequest,
  type ReleaseAnswer,
  type ReportAnswer,
  type ReportItem,
  releaseRequest,
  reportRequest,
  type SessionsAnswer,
  type Shortage,
  sessionsQuery,
} from '../pool-api/schema.ts';
import { createAttemptOrder } from './attempt-order.ts';
import { type Claims, createClaims } from './claims.ts';
import { parse } from './parse.ts';
import { bearerOf, type Caller, hasBearer, type PoolContext } from './pool-context.ts';
import { isoTime, presentLease, presentSession } from './present.ts';
import { logFailure } from './server-errors.ts';
import type { EnsureResult, ReportedResult, ReportedTurn, StoredAccount } from './store/store.ts';
import { createWaitingRoom, type WaitingRoom } from './waiting-room.ts';

/** An answer and the way to take back what this call added, for a caller that never got it. */
export interface Allocation {
  readonly answer: AllocateAnswer;
  undo(): Promise<void>;
}

export interface Sessions {
  allocate(caller: Caller, request: unknown, signal?: AbortSignal): Promise<Allocation>;
  release(caller: Caller, request: unknown): Promise<ReleaseAnswer>;
  report(caller: Caller, request: unknown): Promise<ReportAnswer>;
  /** For the owner, page by page. */
  listSessions(query: unknown): Promise<SessionsAnswer>;
  /** A place may have come free. */
  wake(): void;
  /** How many callers wait for a place. */
  waiting(): number;
  close(): void;
}

const quotaQueryMs = 3000;
/** Accounts or reports of one call that a line of the log names. */
const mostLogged = 10;
/** A holder whose bearer was rejected waits so long for another one; the refresh goes on without it. */
const refreshLimitMs = 5000;
const shortestRetryMs = 1000;
const longestRetryMs = 60_000;

export function createSessions(context: PoolContext): Sessions {
  const { clock, settings, events, logger } = context;
  const order = createAttemptOrder();
  const claims = createClaims(context);

  const release = async (
    sessionId: string,
    keyId: string | null,
    leases: readonly { readonly id: string; readonly fence: number }[] | null,
  ): Promise<number | null> => {
    const result = await context.lending().release(clock.now(), { sessionId, keyId, leases });
    if (result === null) return null;
    context.tell(result.changes);
    return result.released;
  };

  const giveBack = async (
    sessionId: string,
    granted: Extract<EnsureResult, { result: 'granted' }>,
  ): Promise<void> => {
    // A caller that broke off and called again has been told of these leases by now, or will be.
    if (!order.isLast(sessionId, granted)) return;
    await release(sessionId, null, granted.created ? null : granted.added);
    logger.info({ sessionId }, 'the caller had gone before its leases were ready; they were given back');
  };

  const room: WaitingRoom = createWaitingRoom({
    clock,
    async attempt(demand) {
      const done = order.begin(demand.sessionId);
      const result = await context.lending().ensureLeases(clock.now(), demand);
      done(result);
      context.tell(result.changes);
      if (result.result !== 'mismatch') context.skips.note(clock.now(), demand.sessionId, result.skipped);
      return result;
    },
    onWanted(ids) {
      events.publish({ type: 'lease-wanted', account_ids: [...ids] });
      context
        .lending()
        .tell({ type: 'wanted', accountIds: ids })
        .catch((error: unknown) =>
          logFailure(logger, error, 'other instances could not be asked for leases'),
        );
    },
    giveBack: (demand, granted) => giveBack(demand.sessionId, granted),
    onError: (error) => logFailure(logger, error, 'a wait for leases failed after its caller had gone'),
  });

  return {
    async allocate(caller, request, signal) {
      const demand = parse(allocateRequest, request === undefined ? {} : request);
      if (demand.count > settings.maxPoolSize) {
        throw new PoolError('invalid_request', `"count" may be 1 to ${settings.maxPoolSize}.`, {
          param: 'count',
        });
      }
      if (demand.exclusive && demand.slots > 1) {
        throw new PoolError(
          'invalid_request',
          '"slots" above 1 needs exclusive=false: an exclusive holder has the whole account.',
          { param: 'slots' },
        );
      }
      const sessionId = demand.session_id ?? `sess_${randomUUID()}`;
      const begunAt = clock.monotonic();
      const result = await room.enter(
        {
          sessionId,
          isNewSession: demand.session_id === undefined,
          owner: { keyId: caller.keyId, isGateway: caller.isGateway },
          count: demand.count,
          provider: demand.provider ?? null,
          model: demand.model ?? null,
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
      debugLog(logger)?.debug(
        {
          session_id: sessionId,
          ...askedFor(demand),
          ...outcomeOf(result),
          waited_ms: Math.round(clock.monotonic() - begunAt),
        },
        'leases were asked for',
      );
      if (result.result === 'mismatch') {
        throw new PoolError('session_mismatch', result.message, { param: 'session_id' });
      }
      if (result.result === 'short') throw shortError(result, clock.now());
      const accounts = result.leases.map((lease) => presentLease(lease, bearerOf(context, lease.account)));
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
        undo: () => giveBack(sessionId, result),
      };
    },

    async release(caller, request) {
      const { session_id: sessionId, leases } = parse(releaseRequest, request);
      const keyId = caller.isOwner === true ? null : caller.keyId;
      const released = await release(sessionId, keyId, leases ?? null);
      debugLog(logger)?.debug({ session_id: sessionId, released }, 'leases were given back');
      if (released === null) throw sessionNotFound();
      return { success: true, released };
    },

    async listSessions(query) {
      const { limit, after, account_id: accountId } = parse(sessionsQuery, givenFields(query));
      const page = await context.lending().sessions(clock.now(), {
        limit,
        ...(after === undefined ? {} : { after }),
        ...(accountId === undefined ? {} : { accountId }),
      });
      return {
        success: true,
        sessions: page.sessions.map(presentSession),
        total: page.total,
        next_after: page.nextAfter,
      };
    },

    async report(caller, request) {
      const { session_id: sessionId, reports } = parse(reportRequest, request);
      const holder = { sessionId, keyId: caller.keyId };
      const turns = reports.map((item) => turnFrom(item, caller));
      const result = await context.lending().report(clock.now(), { ...holder, turns });
      if (result === null) throw sessionNotFound();
      context.tell(result.changes);
      const { confirmed: believed, toRefresh } = await claims.check(turns, result.results);
      const confirmed = await reportConfirmed(context, holder, believed);
      const checked = new Map([
        ...(await checkQuotas(context, result.results, isClaimant(caller) ? claims : undefined)),
        ...confirmed.map(({ account }) => [account.id, account] as const),
        ...(await refreshRejected(context, [...result.results, ...confirmed], toRefresh)),
      ]);
      const results = result.results.map((item, index) => {
        const account = checked.get(item.accountId) ?? item.account;
        return presentResult(context, item, account, reports[index]);
      });
      context.metrics.reported(reports, results);
      debugLog(logger)?.debug(
        { session_id: sessionId, reports: reportsSeen(reports, results) },
        'reports came in',
      );
      return { success: true, timestamp: isoTime(clock.now()), results };
    },

    wake: room.wake,
    waiting: room.size,
    close: room.close,
  };
}

/** For the log: what a caller wanted, without who it is. */
function askedFor({ count, provider, model, exclusive, slots, prefer }: z.output<typeof allocateRequest>) {
  return { count, provider, model, exclusive, slots, prefer };
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

function reportsSeen(reports: readonly ReportItem[], results: ReportAnswer['results']) {
  return reports.slice(0, mostLogged).map(({ account_id, outcome }, index) => {
    const { result, status } = results[index] ?? {};
    return { account_id, outcome, result, status };
  });
}

/** What became of claims that the provider has confirmed, where their leases are still there. */
async function reportConfirmed(
  context: PoolContext,
  holder: { readonly sessionId: string; readonly keyId: string },
  turns: readonly ReportedTurn[],
): Promise<(ReportedResult & { readonly account: StoredAccount })[]> {
  if (turns.length === 0) return [];
  const result = await context.lending().report(context.clock.now(), { ...holder, turns });
  if (result === null) return [];
  context.tell(result.changes);
  return result.results.flatMap((item) =>
    item.account === null ? [] : [{ ...item, account: item.account }],
  );
}

/** What the providers say about the accounts whose quota is in doubt, by account id. `claims` where it was a program that reported it. */
async function checkQuotas(
  context: PoolContext,
  results: readonly ReportedResult[],
  claims: Claims | undefined,
): Promise<ReadonlyMap<string, StoredAccount>> {
  const doubtful = new Map<string, StoredAccount>();
  for (const { shouldCheckQuota, account } of results) {
    if (shouldCheckQuota && account !== null) doubtful.set(account.id, account);
  }
  const asked = [...doubtful.values()].filter((account) => claims?.mayAsk(account, 'quota') ?? true);
  const cause = claims === undefined ? 'signal' : 'claim';
  const checked = await Promise.all(asked.map((account) => context.checkQuota(account, cause, quotaQueryMs)));
  return new Map(checked.flatMap((account) => (account === null ? [] : [[account.id, account] as const])));
}

/** Other bearers for those that were rejected, as far as they are to be had at once; by account id. */
async function refreshRejected(
  context: PoolContext,
  results: readonly ReportedResult[],
  others: readonly string[],
): Promise<ReadonlyMap<string, StoredAccount>> {
  const rejected = results.filter((item) => item.shouldRefresh).map((item) => item.accountId);
  const ids = new Set([...rejected, ...others]);
  const refreshed = await Promise.all(
    [...ids].map((id) => context.refreshSoon(id, { force: false, actor: 'rejected bearer' }, refreshLimitMs)),
  );
  return new Map(refreshed.flatMap((account) => (account === null ? [] : [[account.id, account] as const])));
}

/** Neither a gateway, which reads the provider's answers itself, nor the owner. */
function isClaimant({ role, isGateway }: Caller): boolean {
  return role === 'borrower' && !isGateway;
}

function turnFrom(item: ReportItem, caller: Caller): ReportedTurn {
  const isTurn = item.outcome === 'success' || item.outcome === 'cancelled' || item.usage !== undefined;
  return {
    reportId: item.report_id,
    accountId: item.account_id,
    fence: item.fence,
    signal: {
      outcome: item.outcome,
      tokenVersion: item.token_version,
      ...(isClaimant(caller) && { isClaim: true }),
      ...(caller.role === 'admin' && { isOwners: true }),
      ...(item.retry_after_ms === undefined ? {} : { retryAfterMs: item.retry_after_ms }),
      ...(item.reset_at === undefined ? {} : { resetAt: Date.parse(item.reset_at) }),
    },
    usage: {
      turns: item.usage?.turns ?? (isTurn ? 1 : 0),
      inputTokens: item.usage?.input_tokens ?? 0,
      outputTokens: item.usage?.output_tokens ?? 0,
      credits: item.usage?.credits ?? 0,
      costCents: item.usage?.cost_cents ?? 0,
    },
  };
}

function presentResult(
  context: PoolContext,
  item: ReportedResult,
  account: StoredAccount | null,
  reported: ReportItem | undefined,
): ReportAnswer['results'][number] {
  const until = account?.standing.until ?? null;
  const plain = {
    report_id: item.reportId,
    account_id: item.accountId,
    result: item.result,
    status: account?.standing.state ?? null,
    status_until: until === null ? null : isoTime(until),
  };
  const isNewer = item.isLive && account !== null && account.tokenVersion > (reported?.token_version ?? 0);
  if (!isNewer || !hasBearer(account, context.clock.now())) return plain;
  return {
    ...plain,
    id_token: bearerOf(context, account),
    token_version: account.tokenVersion,
    token_expires_at: account.bearer === null ? null : isoTime(account.bearer.expiresAt),
  };
}

function shortError(short: Extract<EnsureResult, { result: 'short' }>, now: number): PoolError {
  const ahead = short.nextAt === null ? longestRetryMs : short.nextAt - now;
  const retryAfterMs = Math.min(longestRetryMs, Math.max(shortestRetryMs, ahead));
  return new PoolError('no_account_available', shortMessage(short.shortage), {
    retryAfterMs,
    shortage: short.shortage,
  });
}

function shortMessage({ matching, reasons }: Shortage): string {
  if (matching === 0)
    return 'No account in the pool matches this demand: add one, or ask for another provider or model.';
  const counts = Object.entries(reasons).map(([reason, count]) => `${count} ${reason.replaceAll('_', ' ')}`);
  const why = counts.length === 0 ? 'too few for this count' : counts.join(', ');
  return (
    `Too few free accounts: of ${matching} that match, ${why}. ` +
    'Try again after Retry-After, wait longer with wait_ms, or add accounts.'
  );
}

function sessionNotFound(): PoolError {
  return new PoolError('session_not_found', 'There is no such session; it was released, or it expired.', {
    param: 'session_id',
  });
}
