import { AppError } from '../core/errors.ts';
import type { AskedRequest, FinishReason, Usage } from '../core/turn.ts';
import { debugLog, type Logger } from '../lib/logger.ts';
import type { Affinity, Session } from './affinity.ts';
import { type AttemptDependencies, attemptTurn, countedUsage, type TurnOutput } from './attempt.ts';
import { AttemptReports } from './attempt-reports.ts';
import type { Conversation, ConversationResult, Conversations } from './conversations.ts';
import { Failover, type NextStep } from './failover.ts';
import type { ImageFetcher } from './image-fetcher.ts';
import type { LeaseCache, LeaseDemand, TurnLease } from './lease-cache.ts';
import { appErrorFromPool, isAboutOthers } from './pool-fault.ts';
import type { ProviderReach } from './provider-reach.ts';
import type { Reporter, ReportResult } from './reporter.ts';
import type { Route, Routes } from './routes.ts';
import type { SchemaChecker } from './schema-checker.ts';
import type { TurnImages } from './turn-images.ts';
import { emptyProgress, type TurnProgress } from './turn-progress.ts';

export interface TurnDependencies extends AttemptDependencies {
  readonly routes: Routes;
  readonly leases: LeaseCache;
  readonly reporter: Reporter;
  readonly reach: ProviderReach;
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
  /** About how many bytes it has: large ones are worked on in turns of the event loop. */
  readonly bytes?: number;
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
  readonly finish: FinishReason | undefined;
  /** Milliseconds from the start to the first content; undefined when none came. */
  readonly firstContentMs: number | undefined;
}

/** How long a turn waits, altogether, for a cooling or busy account and for a provider that cannot be reached. */
const longestWaitMs = 10_000;
/** Retry-After of a turn that has waited in vain for a provider to be reachable. */
const unreachableRetryMs = 5_000;

/** How a turn reaches an upstream. */
interface Path {
  readonly route: Route;
  readonly request: AskedRequest;
  readonly conversation: Conversation;
  readonly session: Session | undefined;
}

/**
 * Carries one turn to its one terminal event. The only place that tries again: as `Failover` says, and only until content
 * was sent.
 */
export async function runTurn(dependencies: TurnDependencies, turn: Turn): Promise<TurnSummary> {
  const { clock, leases, routes, conversations, affinity, reach } = dependencies;
  const steps = debugLog(turn.logger);
  const startedAt = clock.monotonic();
  const failover = new Failover();
  const reports = new AttemptReports(dependencies.reporter, leases);
  let step: NextStep = 'other-account';
  let waitLeftMs = longestWaitMs;
  let attempts = 0;
  let path: Path | undefined;
  let lease: TurnLease | undefined;
  let progress: TurnProgress = emptyProgress();
  let counted: Usage | undefined;

  async function pathOf(route: Route): Promise<Path> {
    const request: AskedRequest = { ...turn.request, model: route.model };
    const provider = route.provider.name;
    const conversation = await conversations.find(turn.clientId, provider, request, turn.bytes);
    steps?.debug(
      { provider, upstream_model: route.model, remembered_on: conversation.accountId },
      'the route is chosen',
    );
    return {
      route,
      request,
      conversation,
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
      const known = failover.renewedAccount ?? conversation.accountId;
      const preferred = known === undefined ? session?.preferred() : undefined;
      const isPreferredFull = preferred !== undefined && leases.isFull(preferred);
      try {
        const demand = {
          provider: route.provider.name,
          model: route.model,
          prefer: known ?? preferred,
          isPreferenceSoft: known === undefined,
          exclude: route.barred ? new Set([...failover.excluded, ...route.barred]) : failover.excluded,
          isFreeBarred: failover.isFreeBarred,
          signal: turn.signal,
        };
        if (step === 'resting-account') await mustBeShort(demand);
        const askedAt = clock.monotonic();
        lease = await waiting((deadline) => leases.acquire({ ...demand, deadline }));
        steps?.debug(
          {
            account_id: lease.account.id,
            from: lease.isFirst ? 'the pool' : 'memory',
            waited_ms: Math.round(clock.monotonic() - askedAt),
          },
          'an account is lent',
        );
      } catch (cause) {
        turn.signal.throwIfAborted();
        if (cause instanceof AppError) throw cause;
        steps?.debug({ provider: route.provider.name, reason: messageOf(cause) }, 'no account is lent');
        if (failover.hasFailed) {
          throw failover.shown(isAboutOthers(cause) ? appErrorFromPool(cause) : undefined);
        }
        const rerouted = await routes.resolveAgain(turn.request, route, turn.signal);
        if (!rerouted) throw appErrorFromPool(cause, route, routes.judge(route.provider));
        conversation.end();
        path = await pathOf(rerouted);
        continue;
      }
      attempts += 1;
      const failure = await useLease(lease, path);
      if (!failure) {
        session?.answeredBy(
          lease.account.id,
          known !== undefined ? 'remembered' : isPreferredFull ? 'full' : 'sought',
        );
        return summary(undefined);
      }

      const { error, report } = failure;
      if (progress.isContentSent) return summary(error);
      turn.signal.throwIfAborted();
      const { account } = lease;
      const details = {
        account_id: account.id,
        provider: route.provider.name,
        model: request.model,
        err: error,
      };
      if (error.isModelRefusedToAccount) {
        dependencies.models.refused(route.provider, route.model, account.id);
      } else if (error.code === 'invalid_request' && !error.isFinal && conversation.beginAnew()) {
        turn.logger.info(details, 'the upstream rejected the conversation; resending the full history');
        continue;
      }
      step = failover.next(error, account, report);
      steps?.debug({ account_id: account.id, reason: error.code, next: step }, 'the attempt failed');
      if (step === 'end') throw failover.shown();
      if (step !== 'same-account') turn.logger.info(details, 'another account is tried');
    }
  } catch (thrown) {
    const error = AppError.from(thrown);
    if (error.code !== 'cancelled') turn.output.write([{ type: 'error', error }]);
    return summary(error);
  }

  /** Throws the error to show where an account is free that this turn has not tried: a refusal is not worked around. */
  async function mustBeShort(demand: Omit<LeaseDemand, 'deadline'>): Promise<void> {
    let free: TurnLease;
    try {
      free = await leases.acquire({ ...demand, deadline: clock.monotonic() });
    } catch (error) {
      if (isAboutOthers(error)) return;
      throw error;
    }
    free.release();
    if (!failover.mayReturnTo(free.account.id)) throw failover.shown();
  }

  /** Takes what `wait` takes from the time this turn may wait. */
  async function waiting<Value>(wait: (deadline: number) => Promise<Value>): Promise<Value> {
    const begunAt = clock.monotonic();
    try {
      return await wait(begunAt + waitLeftMs);
    } finally {
      waitLeftMs = Math.max(0, waitLeftMs - (clock.monotonic() - begunAt));
    }
  }

  /** One attempt and its report to the pool. The lease is always released. */
  async function useLease(used: TurnLease, on: Path): Promise<Failure | undefined> {
    try {
      turn.output.onRoute(on.route);
      const error = await attemptUntilReached(used, on);
      const usage = countedUsage(on.request, progress);
      counted = usage;
      const account = { account_id: used.account.id };
      if (error) {
        const report = await reports.failed(used, error, usage);
        steps?.debug({ ...account, ...reported(error, report) }, 'the outcome is reported');
        return { error, report };
      }
      reports.succeeded(used, usage);
      steps?.debug({ ...account, outcome: 'success' }, 'the outcome is reported');
      return undefined;
    } finally {
      used.release();
    }
  }

  /** While nothing can be sent to the provider, another account would not help: the turn waits with the one it has. */
  async function attemptUntilReached(used: TurnLease, on: Path): Promise<AppError | undefined> {
    const provider = on.route.provider.name;
    let error: AppError | undefined;
    for (;;) {
      const mayTry = await waiting((deadline) => reach.mayTry(provider, deadline, turn.signal));
      if (mayTry === 'too-late') return unreachable(error);
      try {
        const begunAt = clock.monotonic();
        error = await attempt(used, on);
        if (!error?.isUnreachable) {
          if (!error) reach.connected(provider);
          notePace(used, begunAt, error);
          return error;
        }
        waitLeftMs = Math.max(0, waitLeftMs - (clock.monotonic() - begunAt));
        reach.unreachable(provider, mayTry === 'as-probe');
        steps?.debug({ provider, reason: error.message }, 'the provider cannot be reached; the turn waits');
        if (turn.signal.aborted) return error;
      } finally {
        if (mayTry === 'as-probe') reach.probeEnded(provider);
      }
    }
  }

  function attempt(used: TurnLease, on: Path): Promise<AppError | undefined> {
    progress = emptyProgress();
    counted = undefined;
    return attemptTurn(dependencies, { ...turn, ...on, lease: used, progress });
  }

  function notePace(used: TurnLease, begunAt: number, error: AppError | undefined): void {
    const isSilent = error?.code === 'upstream_timeout' && error.fault === 'upstream';
    const firstContentAt = isSilent ? clock.monotonic() : progress.firstContentAt;
    if (firstContentAt !== undefined) affinity.pace.note(used.account.id, firstContentAt - begunAt);
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
      finish: progress.finish,
      firstContentMs:
        progress.firstContentAt === undefined ? undefined : Math.round(progress.firstContentAt - startedAt),
    };
  }
}

/** For the log. An upstream's fault is reported only once another account has answered. */
function reported({ outcome, fault }: AppError, report: ReportResult | undefined) {
  const isHeldBack = outcome !== undefined && fault === 'upstream';
  return {
    outcome: outcome ?? 'none',
    report: isHeldBack ? 'held back' : report?.result,
    account_status: report?.status,
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface Failure {
  readonly error: AppError;
  readonly report: ReportResult | undefined;
}

function unreachable(cause: AppError | undefined): AppError {
  return new AppError(
    'upstream_unavailable',
    cause?.message ?? 'The provider cannot be reached from here; try again in a moment.',
    {
      cause,
      retryAfterMs: unreachableRetryMs,
      fault: 'network',
      failover: 'no',
    },
  );
}
