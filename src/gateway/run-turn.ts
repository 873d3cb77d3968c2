import { AppError } from '../core/errors.ts';
import type { AskedRequest, Usage } from '../core/turn.ts';
import type { Logger } from '../lib/logger.ts';
import type { Affinity, Session } from './affinity.ts';
import { type AttemptDependencies, attemptTurn, countedUsage, type TurnOutput } from './attempt.ts';
import type { Conversation, ConversationResult, Conversations } from './conversations.ts';
import type { ImageFetcher } from './image-fetcher.ts';
import type { LeaseCache, TurnLease } from './lease-cache.ts';
import { appErrorFromPool } from './pool-fault.ts';
import type { Reporter, ReportResult } from './reporter.ts';
import type { Route, Routes } from './routes.ts';
import type { SchemaChecker } from './schema-checker.ts';
import type { TurnImages } from './turn-images.ts';
import { emptyProgress, type TurnProgress } from './turn-progress.ts';

export interface TurnDependencies extends AttemptDependencies {
  readonly routes: Routes;
  readonly leases: LeaseCache;
  readonly reporter: Reporter;
  readonly conversations: Conversations;
  readonly affinity: Affinity;
  readonly schemas: SchemaChecker;
  /** Answers to one request, at most. */
  readonly maxChoices: number;
  /** Undefined: images come inline only. */
  readonly imageFetcher?: ImageFetcher | undefined;
}

export interface Turn {
  readonly request: AskedRequest;
  /** Tells clients apart without naming their key. */
  readonly clientId: string;
  /** What the client keeps its session together by. */
  readonly affinityKey?: string | undefined;
  /** Whether the answer shows usage, so that missing figures are worth counting. */
  readonly wantsUsage: boolean;
  readonly output: TurnOutput;
  /** The images the request names by their addresses. */
  readonly images?: TurnImages | undefined;
  /** Aborts when the client has left or the gateway stops; the reason is an AppError. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

export interface TurnSummary {
  readonly error: AppError | undefined;
  readonly accountId: string | undefined;
  readonly provider: string | undefined;
  readonly upstreamModel: string | undefined;
  readonly attempts: number;
  /** Undefined when the turn came to no provider. */
  readonly conversation: ConversationResult | undefined;
  readonly usage: Usage | undefined;
  /** Milliseconds from the start to the first content; undefined when none came. */
  readonly firstContentMs: number | undefined;
}

const maxAttempts = 5;
/** How long a turn waits for a cooling or busy account. */
const waitForAccountMs = 10_000;

/** How a turn reaches an upstream. */
interface Path {
  readonly route: Route;
  readonly request: AskedRequest;
  readonly conversation: Conversation;
  readonly session: Session | undefined;
}

/**
 * Carries one turn to its one terminal event. The only place that tries again: with another account, as the error table
 * says, and only until content was sent.
 */
export async function runTurn(dependencies: TurnDependencies, turn: Turn): Promise<TurnSummary> {
  const { clock, leases, routes, reporter, conversations, affinity } = dependencies;
  const startedAt = clock.monotonic();
  const excluded = new Set<string>();
  let isFreeBarred = false;
  let hasRetriedModel = false;
  let retriedBearerOf: string | undefined;
  let attempts = 0;
  let lastError: AppError | undefined;
  let path: Path | undefined;
  let lease: TurnLease | undefined;
  let progress: TurnProgress = emptyProgress();
  let counted: Usage | undefined;

  async function pathOf(route: Route): Promise<Path> {
    const request: AskedRequest = { ...turn.request, model: route.model };
    const provider = route.provider.name;
    return {
      route,
      request,
      conversation: await conversations.find(turn.clientId, provider, request),
      session:
        turn.affinityKey === undefined
          ? undefined
          : affinity.sessionOf(turn.clientId, provider, turn.affinityKey),
    };
  }

  try {
    path = await pathOf(await routes.resolve(turn.request, turn.signal));
    for (;;) {
      const { route, conversation, request, session }: Path = path;
      const known = retriedBearerOf ?? conversation.accountId;
      const preferred = known === undefined ? session?.preferred() : undefined;
      const isPreferredFull = preferred !== undefined && leases.isFull(preferred);
      try {
        lease = await leases.acquire({
          provider: route.provider.name,
          model: route.model,
          prefer: known ?? preferred,
          isPreferenceSoft: known === undefined,
          exclude: route.barred ? new Set([...excluded, ...route.barred]) : excluded,
          isFreeBarred,
          deadline: startedAt + waitForAccountMs,
          signal: turn.signal,
        });
      } catch (cause) {
        turn.signal.throwIfAborted();
        if (lastError) throw lastError;
        const rerouted = await routes.resolveAgain(turn.request, route, turn.signal);
        if (!rerouted) throw appErrorFromPool(cause, route);
        conversation.end();
        path = await pathOf(rerouted);
        continue;
      }
      attempts += 1;
      progress = emptyProgress();
      counted = undefined;
      const error = await useLease(lease, path, progress);
      if (!error) {
        session?.answeredBy(
          lease.account.id,
          known !== undefined ? 'remembered' : isPreferredFull ? 'full' : 'sought',
        );
        return summary(undefined);
      }

      lastError = error.error;
      if (progress.isContentSent) return summary(lastError);
      turn.signal.throwIfAborted();
      const mayHaveForgotten = lastError.code === 'invalid_request' && !lastError.isFinal;
      if (mayHaveForgotten && attempts < maxAttempts && conversation.beginAnew()) {
        turn.logger.info(
          { account_id: lease.account.id, err: lastError },
          'the upstream refused to go on with a conversation: its history is told anew',
        );
        continue;
      }
      if (lastError.isModelRefusedToAccount) {
        dependencies.models.refused(route.provider, route.model, lease.account.id);
      }
      if (attempts >= maxAttempts || lastError.failover === 'no') throw lastError;
      if (lastError.failover === 'once') {
        if (hasRetriedModel) throw lastError;
        hasRetriedModel = true;
      }
      const { account } = lease;
      if (lastError.code === 'upstream_quota_exhausted' && account.free) isFreeBarred = true;
      if (lastError.code === 'upstream_unauthorized' && error.hasNewerBearer && !retriedBearerOf) {
        retriedBearerOf = account.id;
        continue;
      }
      excluded.add(account.id);
      turn.logger.info(
        { account_id: account.id, provider: route.provider.name, model: request.model, err: lastError },
        'another account is tried',
      );
    }
  } catch (thrown) {
    const error = AppError.from(thrown);
    if (error.code !== 'cancelled') turn.output.write([{ type: 'error', error }]);
    return summary(error);
  }

  /** One attempt and what the pool hears of it. The lease is released whatever happens. */
  async function useLease(
    used: TurnLease,
    { route, request, conversation }: Path,
    made: TurnProgress,
  ): Promise<{ error: AppError; hasNewerBearer: boolean } | undefined> {
    try {
      turn.output.onRoute(route);
      const begunAt = clock.monotonic();
      const error = await attemptTurn(dependencies, {
        route,
        request,
        conversation,
        lease: used,
        output: turn.output,
        progress: made,
        wantsUsage: turn.wantsUsage,
        images: turn.images,
        signal: turn.signal,
        logger: turn.logger,
      });
      const firstContentAt = error?.code === 'upstream_timeout' ? clock.monotonic() : made.firstContentAt;
      if (firstContentAt !== undefined) affinity.pace.note(used.account.id, firstContentAt - begunAt);
      const usage = countedUsage(request, made);
      counted = usage;
      if (!error) {
        void reporter.report(used, { outcome: 'success', usage });
        return undefined;
      }
      const result = await reportFailure(used, error, usage);
      return { error, hasNewerBearer: result?.id_token !== undefined };
    } finally {
      used.release();
    }
  }

  async function reportFailure(
    failed: TurnLease,
    error: AppError,
    usage: Usage | undefined,
  ): Promise<ReportResult | undefined> {
    const { outcome } = error;
    if (outcome === undefined) return undefined;
    if (outcome === 'quota_exhausted' || outcome === 'refused' || outcome === 'rate_limited') failed.retire();
    const result = await reporter.report(failed, {
      outcome,
      usage,
      retryAfterMs: error.retryAfterMs,
      resetAt: error.resetAt,
    });
    if (outcome === 'quota_exhausted' && failed.account.free) {
      // As long as nobody says that some is left, the account counts as spent.
      if (!result || result.status === 'exhausted') leases.retireFree(failed.account.provider);
    }
    if (result?.id_token !== undefined && result.token_version !== undefined) {
      failed.renewBearer({
        idToken: result.id_token,
        tokenVersion: result.token_version,
        tokenExpiresAt: result.token_expires_at ?? null,
      });
    } else if (result && result.status !== 'active') {
      failed.retire();
    }
    return result;
  }

  function summary(error: AppError | undefined): TurnSummary {
    return {
      error,
      accountId: lease?.account.id,
      provider: path?.route.provider.name,
      upstreamModel: path?.route.model,
      attempts,
      conversation: path?.conversation.end(),
      usage: counted,
      firstContentMs: progress.firstContentAt === undefined ? undefined : progress.firstContentAt - startedAt,
    };
  }
}
