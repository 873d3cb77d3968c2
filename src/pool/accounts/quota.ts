import { AppError } from '../../core/errors.ts';
import type { ProviderAccount, QuotaAnswer } from '../../core/provider.ts';
import { type Clock, within } from '../../lib/clock.ts';
import { debugLog } from '../../lib/log/logger.ts';
import type { Basics } from '../base/basics.ts';
import type { LendingStore } from '../lending/lending-store.ts';
import { isAboutAccount, type QuotaCause, type QuotaFinding } from '../standing/account-state.ts';
import type { StoredAccount } from '../store/store.ts';
import type { Refresher } from '../tokens/refresh.ts';
import { hasBearer } from '../vault/vault.ts';

const probeLimitMs = 5000;
/** A bearer that is rejected so soon after it was made is not the trouble: its account is. */
const freshBearerMs = 60_000;

type Asked = Pick<StoredAccount, 'id' | 'provider'>;

/** Asks providers what is left, never the same question twice at a time, never for longer than allowed. */
export class Quota {
  readonly #basics: Basics;
  readonly #lending: LendingStore;
  readonly #refresher: Refresher;
  readonly #doubt: QuotaDoubt;
  readonly #running = new Map<string, Promise<QuotaFinding>>();

  constructor(basics: Basics, lending: LendingStore, refresher: Refresher) {
    this.#basics = basics;
    this.#lending = lending;
    this.#refresher = refresher;
    this.#doubt = new QuotaDoubt(basics.clock);
  }

  /** Asks what an account has left and stores the answer. Null for one that is gone or has no bearer now. */
  async check(account: StoredAccount, cause: QuotaCause, limitMs: number): Promise<StoredAccount | null> {
    const { store, clock, credentials, metrics } = this.#basics;
    if (!hasBearer(account, clock.now())) return null;
    // The store is chosen now: it may be another one when the answer comes.
    const holder = this.#lending.current;
    const found = await this.#ask(account, credentials.providerAccount(account), limitMs);
    metrics.quotaChecked(cause, found);
    const finding = cause === 'signal' ? this.#doubt.judged(account, found) : found;
    const present = await holder.account(clock.now(), account.id);
    if (present === null || isOutdated(finding, account, present)) return present;
    if (isBearerRejected(account, finding, clock.now())) {
      // As a 401 in a turn would: one refresh, as soon as the ceiling allows it.
      await store.scheduleRefresh(clock.now(), account.id, clock.now(), true);
      void this.#refresher.refreshSoon(account.id, { force: false, actor: 'rejected bearer' }, 0);
      return account;
    }
    const result = await holder.recordQuota(clock.now(), account.id, finding, cause);
    return result === null ? null : result.account;
  }

  /** Asks about a credential that no row holds yet. */
  async probe(asked: Asked, as: ProviderAccount): Promise<QuotaFinding> {
    const finding = await this.#ask(asked, as, probeLimitMs);
    this.#basics.metrics.quotaChecked('probe', finding);
    return finding;
  }

  #ask({ id, provider }: Asked, as: ProviderAccount, limitMs: number): Promise<QuotaFinding> {
    // With another key or another team it is another question, and the old one's answer says nothing about it.
    const question = JSON.stringify([id, as.bearer, as.teamUid]);
    const present = this.#running.get(question);
    if (present !== undefined) return present;
    const query = this.#askOnce(provider, as, limitMs).finally(() => this.#running.delete(question));
    this.#running.set(question, query);
    void query.then((finding) => {
      const found = finding.type === 'answer' ? { answer: finding.answer } : { failure: finding.code };
      debugLog(this.#basics.logger)?.debug(
        { account_id: id, provider, ...found },
        'a provider was asked what is left',
      );
    });
    return query;
  }

  async #askOnce(name: string, as: ProviderAccount, limitMs: number): Promise<QuotaFinding> {
    const { providers, clock, logger, secrets } = this.#basics;
    const provider = providers.get(name);
    if (provider === undefined) {
      return { type: 'failure', code: 'unknown_provider', message: `provider "${name}" is not configured` };
    }
    const abort = new AbortController();
    try {
      const answer = await within(provider.getQuota(as, abort.signal), clock, limitMs);
      if (answer === undefined) throw new AppError('upstream_timeout', `no answer within ${limitMs} ms`);
      return { type: 'answer', answer: bounded(answer, clock.now()) };
    } catch (error) {
      logger.info({ err: error, provider: name }, 'the provider did not say what is left');
      // Only AppError's message is made to be shown.
      return error instanceof AppError
        ? { type: 'failure', code: error.code, fault: error.fault, message: secrets.redact(error.message) }
        : { type: 'failure', code: 'internal', message: 'the query failed; the log has the details' };
    } finally {
      abort.abort();
    }
  }
}

/** What was found is about a team or a credential that was replaced while the provider was asked. */
function isOutdated(finding: QuotaFinding, asked: StoredAccount, present: StoredAccount): boolean {
  if (present.teamUid !== asked.teamUid) return true;
  // Figures stay true when a token is refreshed; a rejected token says nothing about the next one.
  const isSame = asked.credentialKind === 'refresh_token' && finding.type === 'answer';
  return present.tokenVersion !== asked.tokenVersion && !isSame;
}

function isBearerRejected(account: StoredAccount, finding: QuotaFinding, now: number): boolean {
  const isRejected =
    finding.type === 'failure' && finding.code === 'upstream_unauthorized' && isAboutAccount(finding);
  const isFresh = account.lastRefreshTime !== null && account.lastRefreshTime > now - freshBearerMs;
  return isRejected && account.credentialKind === 'refresh_token' && !isFresh;
}

/** More than any plan has, and little enough for sums over all accounts. */
const mostFigure = 1e12;
/** A reset further away than this is a mistake of its sender. */
const furthestResetMs = 10 * 365 * 24 * 3_600_000;

/** Figures and times that can be stored, summed up and shown, whatever a provider answers. */
function bounded(answer: QuotaAnswer, now: number): QuotaAnswer {
  const { resetAt, limit, used, remaining, ...words } = answer;
  const figures = Object.entries({ limit, used, remaining }).flatMap(([name, value]) =>
    value === undefined || Number.isNaN(value)
      ? []
      : [[name, Math.max(-mostFigure, Math.min(mostFigure, value))] as const],
  );
  const isSound = resetAt !== undefined && Math.abs(resetAt.getTime() - now) <= furthestResetMs;
  return { ...words, ...Object.fromEntries(figures), ...(isSound ? { resetAt } : {}) };
}

const withinMs = 10 * 60_000;
const accountsUntilDoubt = 3;

/**
 * Quota signals for which the provider gave no figures. Where several accounts of a provider have them within minutes, it
 * is the provider that is in doubt, and only figures are believed.
 */
export class QuotaDoubt {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** By provider: when each account last had one. */
  readonly #seen = new Map<string, Map<string, number>>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  judged(account: { readonly id: string; readonly provider: string }, finding: QuotaFinding): QuotaFinding {
    const seen = this.#seen.get(account.provider) ?? new Map<string, number>();
    this.#seen.set(account.provider, seen);
    const now = this.#clock.monotonic();
    for (const [id, at] of seen) if (now - at >= withinMs) seen.delete(id);
    if (finding.type === 'answer') {
      seen.delete(account.id);
      return finding;
    }
    seen.set(account.id, now);
    return { ...finding, isWidespread: seen.size >= accountsUntilDoubt };
  }
}
