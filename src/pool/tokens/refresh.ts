import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import {
  nothingIssued,
  TokenError,
  type TokenFailure,
  type TokenGrant,
  type TokenIssuer,
} from '../../core/provider.ts';
import { atMost } from '../../lib/at-most.ts';
import { backoffMs, withJitter } from '../../lib/backoff.ts';
import { sleep, within } from '../../lib/clock.ts';
import { debugLog } from '../../lib/log/logger.ts';
import { createLimit } from '../../lib/tasks.ts';
import type { Basics } from '../base/basics.ts';
import { logFailure } from '../base/failures.ts';
import { lendMarginMs, minute, second } from '../standing/standing.ts';
import { failuresInARow } from '../store/rules/rows.ts';
import type { RefreshClaim, RefreshClaimResult, StoredAccount } from '../store/store.ts';

type RefreshResult =
  | { readonly result: 'refreshed'; readonly account: StoredAccount }
  | { readonly result: 'skipped'; readonly reason: string; readonly nextAt: number | null }
  | { readonly result: 'failed'; readonly reason: string; readonly nextAt: number | null };

interface How {
  readonly force: boolean;
  readonly actor: string;
}

/** Where a refresh has got to. Between any two of them the process may die. */
export type RefreshStep = 'begun' | 'claimed' | 'asking' | 'answered' | 'committed';

const tooEarly = 'refreshed less than the least interval ago';
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

/** The only writer of tokens: turns refresh tokens into bearers before those lapse. */
export class Refresher {
  readonly #basics: Basics;
  readonly #onStep: (step: RefreshStep) => Promise<void>;
  readonly #instance: string;
  readonly #running = new Map<string, Promise<RefreshResult>>();
  /**
   * When this process last had an answer that counts, by account and in elapsed time: the store's time follows a wall clock that was
   * set, so that its hour may be over sooner.
   */
  readonly #answeredAt = new LRUCache<string, number>(atMost(100_000));
  readonly #limited = createLimit(atOnce);
  #isStarted = false;
  #isStopped = false;
  #isLooking = false;
  #shouldLookAgain = false;
  #timerAt: number | null = null;
  #stopTimer = (): void => {};

  /** `onStep` is called at every step: tests end the process there. */
  constructor(basics: Basics, onStep: (step: RefreshStep) => Promise<void> = async () => {}) {
    this.#basics = basics;
    this.#onStep = onStep;
    this.#instance = basics.store.isShared ? randomUUID() : 'the only one';
  }

  /** Finds what a process before this one left behind, and begins. */
  async start(): Promise<void> {
    await this.#findInterrupted(this.#basics.store.isShared ? null : this.#instance);
    this.#isStarted = true;
    void this.#look();
  }

  /** Begins no more; answers when the running refreshes have ended, or will not in time. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopTimer();
    await within(Promise.allSettled(this.#running.values()), this.#basics.clock, shutdownLimitMs);
  }

  /**
   * Refreshes one account now, if the ceiling and earlier failures allow it or `force` passes them. A call during a refresh
   * of the account gets the answer of that one.
   */
  refreshNow(id: string, { force, actor }: How): Promise<RefreshResult> {
    const present = this.#running.get(id);
    if (present !== undefined) return present;
    const { logger, metrics } = this.#basics;
    const begun = this.#limited(async () => {
      if (this.#isStopped) return skipped('the pool is shutting down');
      debugLog(logger)?.debug({ account_id: id, force, actor }, 'a refresh begins');
      const done = await this.#refresh(id, force, actor);
      debugLog(logger)?.debug(
        { account_id: id, result: done.result, ...('reason' in done && { reason: done.reason }) },
        'a refresh ended',
      );
      metrics.refreshed(done.result);
      return done;
    });
    const attempt = begun.finally(() => this.#running.delete(id));
    attempt.then(
      // What was skipped may still be due: a pause keeps that from going round in a circle.
      (done) => (done.result === 'skipped' ? this.#lookAfter(shortestSleepMs) : void this.#look()),
      () => this.#lookAfter(afterErrorMs),
    );
    this.#running.set(id, attempt);
    return attempt;
  }

  /** The same for a caller that cannot wait long: answers the account as it is then, null when it is gone. Never throws for a refresh. */
  async refreshSoon(id: string, how: How, limitMs: number): Promise<StoredAccount | null> {
    const { store, clock } = this.#basics;
    await within(this.#refreshLogged(id, how), clock, limitMs);
    return store.account(clock.now(), id);
  }

  async #refreshLogged(id: string, how: How): Promise<void> {
    try {
      await this.refreshNow(id, how);
    } catch (error) {
      logFailure(this.#basics.logger, error, 'a refresh failed on the way', { accountId: id });
    }
  }

  async #refresh(id: string, force: boolean, actor: string): Promise<RefreshResult> {
    const { store, clock, providers, settings } = this.#basics;
    const account = await store.account(clock.now(), id);
    if (account === null) return skipped('no such account');
    if (account.credentialKind === 'api_key') return skipped('API key: nothing to refresh');
    const provider = providers.get(account.provider);
    const tokens = provider?.tokens;
    if (tokens === undefined) {
      const nextAt = clock.now() + unconfiguredRestMs;
      await store.scheduleRefresh(clock.now(), id, nextAt, false);
      const missing = provider?.missing?.tokens ?? `Provider "${account.provider}" has no token endpoint.`;
      return skipped(missing, nextAt);
    }
    await this.#onStep('begun');
    const minIntervalMs = leastInterval(settings.refreshMinIntervalMs, tokens.isLoopback);
    const restMs = (this.#answeredAt.get(id) ?? Number.NEGATIVE_INFINITY) + minIntervalMs - clock.elapsed();
    if (restMs > 0 && !force) {
      const nextAt = Math.ceil(clock.now() + restMs);
      if ((account.nextRefreshAt ?? nextAt) < nextAt)
        await store.scheduleRefresh(clock.now(), id, nextAt, false);
      return skipped(tooEarly, nextAt);
    }
    const claim = await store.claimRefresh(clock.now(), {
      accountId: id,
      minIntervalMs,
      limitMs: attemptLimitMs,
      force,
      instance: this.#instance,
      actor,
    });
    if (claim.result !== 'claimed') return notClaimed(claim);
    await this.#onStep('claimed');
    const grant = await this.#ask(tokens, claim);
    const isCounted = !(grant instanceof TokenError && nothingIssued.includes(grant.failure));
    if (isCounted) this.#answeredAt.set(id, clock.elapsed());
    if (grant instanceof TokenError) return this.#fail(claim, grant);
    await this.#onStep('answered');
    return this.#commit(claim, grant, clock.now() + minIntervalMs);
  }

  async #ask(tokens: TokenIssuer, claim: RefreshClaim): Promise<TokenGrant | TokenError> {
    const { credentials, secrets } = this.#basics;
    let refreshToken: string;
    try {
      refreshToken = credentials.secretOf(claim.account);
    } catch (cause) {
      const message = 'The stored refresh token cannot be opened with this master key.';
      return new TokenError('unsent', message, { cause });
    }
    await this.#onStep('asking');
    try {
      return await tokens.refresh(refreshToken);
    } catch (cause) {
      if (cause instanceof TokenError) return secrets.clean(cause);
      return new TokenError('unknown', 'The refresh failed unexpectedly; the log has the details.', {
        cause,
      });
    }
  }

  async #commit(claim: RefreshClaim, grant: TokenGrant, opensAt: number): Promise<RefreshResult> {
    const { store, clock, credentials, logger, random } = this.#basics;
    const { id, provider } = claim.account;
    const { isLastUsable, intentAt: issuedAt } = claim;
    const { refreshToken, email } = grant;
    const expiresAt = clock.now() + grant.lifetimeMs;
    const refreshed = {
      bearer: credentials.sealBearer(id, grant.bearer, expiresAt),
      nextRefreshAt: nextRefreshAfter({ issuedAt, expiresAt, opensAt, isLastUsable, random }),
      ...(refreshToken === undefined ? {} : { credential: credentials.seal(id, provider, refreshToken) }),
      ...(email === undefined ? {} : { email }),
    };
    // A rotated refresh token exists here only: not being able to write it is no reason to drop it immediately.
    const done = await this.#insist(
      () => store.commitRefresh(clock.now(), claim.refreshId, refreshed),
      // The issuer is not asked again before.
      opensAt,
    );
    if (done === null) return skipped('the account is gone, or its credential was replaced meanwhile');
    await this.#onStep('committed');
    logger.info({ accountId: id, tokenVersion: done.account.tokenVersion }, 'a token was refreshed');
    return { result: 'refreshed', account: done.account };
  }

  async #insist<T>(write: () => Promise<T>, untilAt: number): Promise<T> {
    const { clock, logger } = this.#basics;
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
  }

  async #fail(claim: RefreshClaim, error: TokenError): Promise<RefreshResult> {
    const { store, clock, logger, random } = this.#basics;
    const { account, isLastUsable } = claim;
    const { failure, retryAfterMs, message } = error;
    const inARow = failuresInARow(account.refreshFailure, failure);
    const done = await store.failRefresh(clock.now(), claim.refreshId, {
      failure,
      message,
      retryAt: retryAfter({ failure, now: clock.now(), inARow, retryAfterMs, isLastUsable, random }),
      givenUp: reasonToGiveUp(error, claim),
    });
    logger.warn({ accountId: account.id, failure, err: error }, 'a token could not be refreshed');
    if (done === null) return skipped('the account is gone');
    if (!done.isCurrent) return skipped('the credential was replaced meanwhile', done.account.nextRefreshAt);
    return { result: 'failed', reason: message, nextAt: done.account.nextRefreshAt };
  }

  async #findInterrupted(goneInstance: string | null): Promise<void> {
    const { store, clock, logger } = this.#basics;
    const { interrupted } = await store.findInterruptedRefreshes(clock.now(), goneInstance);
    for (const { accountId, intentAt } of interrupted) {
      logger.warn(
        { accountId, intentAt: new Date(intentAt).toISOString() },
        'a refresh was interrupted: its token may be lost; the next attempt follows when the ceiling opens',
      );
    }
  }

  /** Begins what is due and sets the timer for what is next. */
  async #look(): Promise<void> {
    if (!this.#isStarted || this.#isStopped) return;
    if (this.#isLooking) {
      this.#shouldLookAgain = true;
      return;
    }
    this.#isLooking = true;
    this.#stopTimer();
    this.#timerAt = null;
    let sleepMs = longestSleepMs;
    try {
      do {
        this.#shouldLookAgain = false;
        sleepMs = await this.#beginDue();
      } while (this.#shouldLookAgain && !this.#isStopped);
    } catch (error) {
      // A look that a stop overtakes finds its database closed.
      if (!this.#isStopped) {
        const what = 'the accounts to refresh could not be read; trying again';
        logFailure(this.#basics.logger, error, what);
      }
      sleepMs = afterErrorMs;
    }
    this.#isLooking = false;
    this.#lookAfter(sleepMs);
  }

  /** Not later than the timer says already. */
  #lookAfter(sleepMs: number): void {
    if (!this.#isStarted || this.#isStopped) return;
    const { clock } = this.#basics;
    const at = clock.now() + sleepMs;
    if (this.#timerAt !== null && this.#timerAt <= at) return;
    this.#stopTimer();
    this.#timerAt = at;
    this.#stopTimer = clock.after(sleepMs, () => {
      this.#timerAt = null;
      void this.#look();
    });
  }

  /** Answers how long nothing more is due. */
  async #beginDue(): Promise<number> {
    const { store, clock } = this.#basics;
    await this.#findInterrupted(null);
    const due = await store.dueForRefresh(clock.now(), atOnce + this.#running.size);
    const free = Math.max(0, atOnce - this.#running.size);
    for (const { id } of due.filter((account) => !this.#running.has(account.id)).slice(0, free)) {
      void this.#refreshLogged(id, { force: false, actor: 'housekeeper' });
    }
    // Those that run look again when they end.
    if (this.#running.size >= atOnce) return longestSleepMs;
    const next = await store.nextRefreshDue(clock.now());
    if (next === null) return longestSleepMs;
    return Math.min(longestSleepMs, Math.max(shortestSleepMs, next - clock.now()));
  }
}

function notClaimed(claim: Exclude<RefreshClaimResult, { readonly result: 'claimed' }>): RefreshResult {
  switch (claim.result) {
    case 'too_early':
      return skipped(claim.reason === 'ceiling' ? tooEarly : 'waiting after the last failure', claim.nextAt);
    case 'under_way':
      return skipped('a refresh is under way');
    case 'not_refreshable':
      return skipped(claim.reason);
  }
}

function skipped(reason: string, nextAt: number | null = null): RefreshResult {
  return { result: 'skipped', reason, nextAt };
}

/** The store gives nothing up whose credential was replaced while the attempt was running. */
function reasonToGiveUp(error: TokenError, claim: RefreshClaim): string | null {
  if (error.failure === 'account_gone') return 'account_gone';
  if (error.failure !== 'invalid_grant') return null;
  return claim.followsInterruption ? 'refresh_interrupted' : 'invalid_grant';
}

/** When refreshes are due. Pure; times are milliseconds since 1970, `random` answers 0 to 1. */

const longestAheadMs = 5 * minute;
/** Even on this machine no token host is asked without a pause. */
const shortestIntervalMs = second;
const longestJitterMs = 2 * minute;
const longestRetryAfterMs = 24 * 60 * minute;
const backoffs = {
  /** Nothing was sent: the network is likely to recover soon. */
  unsent: { firstMs: 15 * second, longestMs: 5 * minute },
  answered: { firstMs: 5 * minute, longestMs: 6 * 60 * minute },
};

/** The shortest time between two refreshes of an account: an hour at least, save where the token host is this machine. */
export function leastInterval(settingMs: number, isLoopback: boolean): number {
  return Math.max(settingMs, isLoopback ? shortestIntervalMs : 60 * minute);
}

/**
 * When an account with a new token is refreshed next: shortly before that lapses, spread forward so that accounts and
 * instances do not march in step. Where the ceiling opens only after it has lapsed: at that moment.
 */
export function nextRefreshAfter(token: {
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly opensAt: number;
  readonly isLastUsable: boolean;
  readonly random: () => number;
}): number {
  const lapsesAt = token.expiresAt - lendMarginMs;
  if (token.opensAt >= lapsesAt) return token.opensAt;
  // A token that lives for minutes only is used for most of them.
  const aheadMs = Math.min(longestAheadMs, (token.expiresAt - token.issuedAt) / 4);
  const dueAt = Math.max(token.opensAt, token.expiresAt - aheadMs);
  const room = Math.min(longestJitterMs, (lapsesAt - dueAt) / 2);
  return Math.round(dueAt + (token.isLastUsable ? 0 : token.random() * room));
}

/** When an attempt that failed may be repeated, as far as the failure goes; the ceiling may be later. */
export function retryAfter(failed: {
  readonly failure: TokenFailure;
  readonly now: number;
  /** Failures in a row, this one among them. */
  readonly inARow: number;
  readonly retryAfterMs: number | undefined;
  readonly isLastUsable: boolean;
  readonly random: () => number;
}): number {
  const { firstMs, longestMs } = failed.failure === 'unsent' ? backoffs.unsent : backoffs.answered;
  const plainMs = backoffMs(failed.inARow - 1, firstMs, longestMs);
  const askedMs = Math.min(longestRetryAfterMs, failed.retryAfterMs ?? 0);
  const waitMs = Math.max(plainMs, askedMs);
  return Math.round(failed.now + (failed.isLastUsable ? waitMs : withJitter(waitMs, 1, 1.25, failed.random)));
}
