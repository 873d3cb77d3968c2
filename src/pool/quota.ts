import { AppError } from '../core/errors.ts';
import type { Provider, ProviderAccount, QuotaAnswer } from '../core/provider.ts';
import type { Clock } from '../lib/clock.ts';
import type { KnownSecrets } from '../lib/known-secrets.ts';
import { debugLog, type Logger } from '../lib/logger.ts';
import { within } from '../lib/within.ts';
import type { QuotaFinding } from './account-state.ts';

/** Asks providers what is left, never the same question twice at a time, never for longer than allowed. */
export interface QuotaQuery {
  ask(
    account: { readonly id: string; readonly provider: string },
    as: ProviderAccount,
    limitMs: number,
  ): Promise<QuotaFinding>;
}

export function createQuotaQuery(options: {
  readonly providers: ReadonlyMap<string, Provider>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly secrets: KnownSecrets;
}): QuotaQuery {
  const { providers, clock, logger, secrets } = options;
  const underWay = new Map<string, Promise<QuotaFinding>>();

  const askOnce = async (
    providerName: string,
    as: ProviderAccount,
    limitMs: number,
  ): Promise<QuotaFinding> => {
    const provider = providers.get(providerName);
    if (provider === undefined) {
      return {
        type: 'failure',
        code: 'unknown_provider',
        message: `provider "${providerName}" is not configured`,
      };
    }
    const abort = new AbortController();
    try {
      const answer = await within(provider.getQuota(as, abort.signal), clock, limitMs);
      if (answer === undefined) throw new AppError('upstream_timeout', `no answer within ${limitMs} ms`);
      return { type: 'answer', answer: bounded(answer, clock.now()) };
    } catch (error) {
      logger.info({ err: error, provider: providerName }, 'the provider did not say what is left');
      // Only AppError's message is made to be shown.
      return error instanceof AppError
        ? { type: 'failure', code: error.code, fault: error.fault, message: secrets.redact(error.message) }
        : { type: 'failure', code: 'internal', message: 'the query failed; the log has the details' };
    } finally {
      abort.abort();
    }
  };

  return {
    ask(account, as, limitMs) {
      // With another key or another team it is another question, and the old one's answer says nothing about it.
      const question = JSON.stringify([account.id, as.bearer, as.teamUid]);
      const present = underWay.get(question);
      if (present !== undefined) return present;
      const query = askOnce(account.provider, as, limitMs).finally(() => underWay.delete(question));
      underWay.set(question, query);
      void query.then((finding) => {
        debugLog(logger)?.debug(
          { account_id: account.id, provider: account.provider, ...told(finding) },
          'a provider was asked what is left',
        );
      });
      return query;
    },
  };
}

function told(finding: QuotaFinding) {
  return finding.type === 'answer' ? { answer: finding.answer } : { failure: finding.code };
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
