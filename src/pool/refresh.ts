import { randomUUID } from 'node:crypto';
import { TokenError, type TokenGrant, type TokenIssuer } from '../core/provider.ts';
import { backoffMs } from '../lib/backoff.ts';
import { createLimit } from '../lib/limit.ts';
import { debugLog } from '../lib/logger.ts';
import { sleep } from '../lib/sleep.ts';
import { within } from '../lib/within.ts';
import { bearerField, type PoolContext, secretOf } from './pool-context.ts';
import { leastInterval, nextRefreshAfter, retryAfter } from './refresh-times.ts';
import { logFailure } from './server-errors.ts';
import type { RefreshClaim, RefreshClaimResult, RefreshDemand, StoredAccount } from './store/store.ts';

/** The only writer of tokens: turns refresh tokens into bearers before those lapse. */
export interface Refresher {
  /** Finds what a process before this one left behind, and begins. */
  start(): Promise<void>;
  /** Begins no more; answers when the refreshes under way have ended, or will not in time. */
  stop(): Promise<void>;
  /**
   * Refreshes one account at once, if the ceiling and earlier failures allow it or `force` passes them. Who asks while a
   * refresh of it is under way gets the answer of that one.
   */
  refreshNow(id: string, how: { readonly force: boolean; readonly actor: string }): Promise<RefreshResult>;
}

export type RefreshResult =
  | { readonly result: 'refreshed'; readonly account: StoredAccount }
  | { readonly result: 'skipped'; readonly reason: string; readonly nextAt: number | null }
  | { readonly result: 'failed'; readonly reason: string; readonly nextAt: number | null };

/** Where a refresh has got to. Between any two of them the process may die. */
export const refreshSteps = ['begun', 'claimed', 'asking', 'answered', 'committed', 'told'] as const;
export type RefreshStep = (typeof refreshSteps)[number];

const atOnce = 4;
/** No issuer takes longer than 15 s. */
const attemptLimitMs = 60_000;
const shutdownLimitMs = 20_000;
/** Another instance may have changed what is due. */
const longestSleepMs = 60_000;
const shortestSleepMs = 250;
const afterErrorMs = 5_000;
const unconfiguredRestMs = 10 * 60_000;
const commitRetryMs = 250;
const longestCommitRetryMs = 10_000;

/** `onStep` is called at every step: tests end the process there. */
export function createRefresher(
  context: PoolContext,
  onStep: (step: RefreshStep) => Promise<void> = async () => {},
): Refresher {
  const { store, clock, logger, vault } = context;
  const instance = store.isShared ? randomUUID() : 'the only one';
  const underWay = new Map<string, Promise<RefreshResult>>();
  const limited = createLimit(atOnce);
  let isStarted = false;
  let isStopped = false;
  let isLooking = false;
  let shouldLookAgain = false;
  let timerAt: number | null = null;
  let stopTimer = (): void => {};

  const refresh = async (id: string, force: boolean, actor: string): Promise<RefreshResult> => {
    const account = await store.account(clock.now(), id);
    if (account === null) return skipped('no such account');
    if (account.credentialKind === 'api_key') return skipped('API key: nothing to refresh');
    const provider = context.providers.get(account.provider);
    const tokens = provider?.tokens;
    if (tokens === undefined) {
      const nextAt = clock.now() + unconfiguredRestMs;
      context.tell(await store.scheduleRefresh(clock.now(), id, nextAt, false));
      const missing = provider?.missing?.tokens ?? `Provider "${account.provider}" has no token endpoint.`;
      return skipped(missing, nextAt);
    }
    await onStep('begun');
    const minIntervalMs = leastInterval(context.settings.refreshMinIntervalMs, tokens.isLoopback);
    const demand = { accountId: id, minIntervalMs, limitMs: attemptLimitMs, force, instance, actor };
    const claim = await claimFor(demand);
    if (claim.result !== 'claimed') return notClaimed(claim);
    await onStep('claimed');
    const grant = await ask(tokens, claim);
    if (grant instanceof TokenError) return fail(claim, grant);
    await onStep('answered');
    return commit(claim, grant, clock.now() + minIntervalMs);
  };

  const claimFor = async (demand: RefreshDemand): Promise<RefreshClaimResult> => {
    const claim = await store.claimRefresh(clock.now(), demand);
    context.tell(claim.changes);
    return claim;
  };

  const ask = async (tokens: TokenIssuer, claim: RefreshClaim): Promise<TokenGrant | TokenError> => {
    let refreshToken: string;
    try {
      refreshToken = secretOf(context, claim.account);
    } catch (error) {
      return new TokenError('unsent', 'The stored refresh token cannot be opened with this master key.', {
        cause: error,
      });
    }
    await onStep('asking');
    try {
      return await tokens.refresh(refreshToken);
    } catch (error) {
      if (error instanceof TokenError) return context.secrets.clean(error);
      return new TokenError('unknown', 'The refresh failed unexpectedly; the log has the details.', {
        cause: error,
      });
    }
  };

  const commit = async (claim: RefreshClaim, grant: TokenGrant, opensAt: number): Promise<RefreshResult> => {
    const { id, provider } = claim.account;
    const { isLastUsable } = claim;
    const { refreshToken, email } = grant;
    const expiresAt = clock.now() + grant.lifetimeMs;
    const refreshed = {
      bearer: { sealed: vault.seal(id, bearerField, grant.bearer), expiresAt },
      nextRefreshAt: nextRefreshAfter({
        issuedAt: claim.intentAt,
        expiresAt,
        opensAt,
        isLastUsable,
        random: context.random,
      }),
      ...(refreshToken === undefined ? {} : { credential: context.credentialOf(id, provider, refreshToken) }),
      ...(email === undefined ? {} : { email }),
    };
    // A rotated refresh token exists here only: not being able to write it is no reason to drop it at once.
    const done = await insistently(
      () => store.commitRefresh(clock.now(), claim.refreshId, refreshed),
      // The issuer is not asked again before.
      opensAt,
    );
    if (done === null) {
      return skipped('the account is gone, or its credential was replaced meanwhile');
    }
    await onStep('committed');
    context.tell(done.changes);
    await onStep('told');
    logger.info({ accountId: id, tokenVersion: done.account.tokenVersion }, 'a token was refreshed');
    return { result: 'refreshed', account: done.account };
  };

  const insistently = async <T>(write: () => Promise<T>, untilAt: number): Promise<T> => {
    for (let failures = 0; ; failures += 1) {
      const waitMs = backoffMs(failures, commitRetryMs, longestCommitRetryMs);
      try {
        return await write();
      } catch (error) {
        if (clock.now() + waitMs > untilAt) throw error;
        logFailure(logger, error, 'a new token could not be stored; trying again');
        await sleep(clock, waitMs);
      }
    }
  };

  const fail = async (claim: RefreshClaim, error: TokenError): Promise<RefreshResult> => {
    const { account, isLastUsable } = claim;
    const { failure, retryAfterMs, message } = error;
    const inARow = (account.refreshFailure?.inARow ?? 0) + 1;
    const times = { failure, now: clock.now(), inARow, retryAfterMs, isLastUsable, random: context.random };
    const failed = {
      failure,
      message,
      retryAt: retryAfter(times),
      givenUp: reasonToGiveUp(error, claim),
    };
    const done = await store.failRefresh(clock.now(), claim.refreshId, failed);
    logger.warn({ accountId: account.id, failure, err: error }, 'a token could not be refreshed');
    if (done === null) return skipped('the account is gone');
    context.tell(done.changes);
    if (!done.isCurrent) {
      return skipped('the credential was replaced meanwhile', done.account.nextRefreshAt);
    }
    return { result: 'failed', reason: message, nextAt: done.account.nextRefreshAt };
  };

  const findInterrupted = async (goneInstance: string | null): Promise<void> => {
    const { interrupted, changes } = await store.findInterruptedRefreshes(clock.now(), goneInstance);
    context.tell(changes);
    for (const { accountId, intentAt } of interrupted) {
      logger.warn(
        { accountId, intentAt: new Date(intentAt).toISOString() },
        'a refresh was interrupted: its token may be lost; the next attempt follows when the ceiling opens',
      );
    }
  };

  const refreshNow: Refresher['refreshNow'] = (id, { force, actor }) => {
    const present = underWay.get(id);
    if (present !== undefined) return present;
    const begun = limited(async () => {
      if (isStopped) return skipped('the pool is shutting down');
      debugLog(logger)?.debug({ account_id: id, force, actor }, 'a refresh begins');
      const done = await refresh(id, force, actor);
      debugLog(logger)?.debug(
        { account_id: id, result: done.result, ...('reason' in done && { reason: done.reason }) },
        'a refresh ended',
      );
      context.metrics.refreshed(done.result);
      return done;
    });
    const attempt = begun.finally(() => underWay.delete(id));
    attempt.then(
      // What was skipped may still be due: a pause keeps that from going round in a circle.
      (done) => (done.result === 'skipped' ? lookAfter(shortestSleepMs) : void look()),
      () => lookAfter(afterErrorMs),
    );
    underWay.set(id, attempt);
    return attempt;
  };

  /** Begins what is due and sets the timer for what is next. */
  const look = async (): Promise<void> => {
    if (!isStarted || isStopped) return;
    if (isLooking) {
      shouldLookAgain = true;
      return;
    }
    isLooking = true;
    stopTimer();
    timerAt = null;
    let sleepMs = longestSleepMs;
    try {
      do {
        shouldLookAgain = false;
        sleepMs = await beginDue();
      } while (shouldLookAgain && !isStopped);
    } catch (error) {
      // A look that a stop overtakes finds its database closed.
      if (!isStopped) logFailure(logger, error, 'the accounts to refresh could not be read; trying again');
      sleepMs = afterErrorMs;
    }
    isLooking = false;
    lookAfter(sleepMs);
  };

  /** Not later than the timer says already. */
  const lookAfter = (sleepMs: number): void => {
    if (!isStarted || isStopped) return;
    const at = clock.now() + sleepMs;
    if (timerAt !== null && timerAt <= at) return;
    stopTimer();
    timerAt = at;
    stopTimer = clock.after(sleepMs, () => {
      timerAt = null;
      void look();
    });
  };

  /** Answers how long nothing more is due. */
  const beginDue = async (): Promise<number> => {
    await findInterrupted(null);
    const due = await store.dueForRefresh(clock.now(), atOnce + underWay.size);
    const free = atOnce - underWay.size;
    for (const { id } of due.filter((account) => !underWay.has(account.id)).slice(0, Math.max(0, free))) {
      refreshNow(id, { force: false, actor: 'housekeeper' }).catch((error: unknown) =>
        logFailure(logger, error, 'a refresh failed on the way', { accountId: id }),
      );
    }
    // Those under way look again when they end.
    if (underWay.size >= atOnce) return longestSleepMs;
    const next = await store.nextRefreshDue(clock.now());
    if (next === null) return longestSleepMs;
    return Math.min(longestSleepMs, Math.max(shortestSleepMs, next - clock.now()));
  };

  return {
    refreshNow,
    async start() {
      await findInterrupted(store.isShared ? null : instance);
      isStarted = true;
      void look();
    },
    async stop() {
      isStopped = true;
      stopTimer();
      const ended = Promise.allSettled(underWay.values());
      await within(ended, clock, shutdownLimitMs);
    },
  };
}

function notClaimed(claim: Exclude<RefreshClaimResult, { readonly result: 'claimed' }>): RefreshResult {
  switch (claim.result) {
    case 'too_early':
      return skipped(
        claim.reason === 'ceiling'
          ? 'refreshed less than the least interval ago'
          : 'waiting after the last failure',
        claim.nextAt,
      );
    case 'under_way':
      return skipped('a refresh is under way');
    case 'not_refreshable':
      return skipped(claim.reason);
  }
}

function skipped(reason: string, nextAt: number | null = null): RefreshResult {
  return { result: 'skipped', reason, nextAt };
}

/** The store gives nothing up whose credential was replaced while the attempt was under way. */
function reasonToGiveUp(error: TokenError, claim: RefreshClaim): string | null {
  if (error.failure === 'account_gone') return 'account_gone';
  if (error.failure !== 'invalid_grant') return null;
  return claim.followsInterruption ? 'refresh_interrupted' : 'invalid_grant';
}
