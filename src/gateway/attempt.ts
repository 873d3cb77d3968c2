import type { Dispatcher } from 'undici';
import { handlingOf } from '../core/capabilities.ts';
import { AppError } from '../core/errors.ts';
import type { ConversationMemory } from '../core/protocol.ts';
import { capabilitiesOf } from '../core/provider.ts';
import type { AskedRequest, TurnEvent, Usage } from '../core/turn.ts';
import type { CallListener, RunningCall, UpstreamTimeouts } from '../core/turn-caller.ts';
import type { Clock } from '../lib/clock.ts';
import type { KnownSecrets } from '../lib/known-secrets.ts';
import type { ListeningTime } from '../lib/listening-time.ts';
import { debugLog, type Logger } from '../lib/logger.ts';
import { ownTurn } from '../lib/own-turn.ts';
import { createCallLimit } from './call-limit.ts';
import type { Conversation } from './conversations.ts';
import { providerAccountOf, type TurnLease } from './held-lease.ts';
import { maxEntryBytes } from './keep/keep.ts';
import type { ModelLists } from './models.ts';
import { createOutputLimit } from './output-limit.ts';
import type { ProviderReach } from './provider-reach.ts';
import type { Route } from './routes.ts';
import { createStopCut } from './stop-cut.ts';
import { estimateUsage, roughUsage } from './token-count.ts';
import { type AskedTurn, prepareTurn, type TurnImages } from './turn-images.ts';
import { noteEvents, type TurnProgress } from './turn-progress.ts';
import { callUpstream } from './upstream.ts';

export interface AttemptDependencies {
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  readonly listening: ListeningTime;
  readonly userAgent: string;
  /** An upstream's refusal may repeat what it was sent. */
  readonly secrets: KnownSecrets;
  readonly timeouts: UpstreamTimeouts;
  /** Running calls, for the timer that checks their time limits. */
  readonly runningCalls: Set<RunningCall>;
  readonly models: Pick<ModelLists, 'outdated' | 'noteTeam' | 'refused'>;
  readonly reach: Pick<ProviderReach, 'connected'>;
}

/** Where an answer goes. Gets one terminal event, as the last of its last batch. */
export interface TurnOutput {
  /** Who answers, before anything is written; again when another account takes over. */
  onRoute(route: Route): void;
  /** True when nothing reaches the client before the end, so that a broken answer may be begun anew. */
  readonly isBuffered: boolean;
  /** False: the reader is behind; `resume` will be called when it has caught up. */
  write(events: readonly TurnEvent[]): boolean;
  resume: (() => void) | undefined;
}

export interface Attempt {
  readonly route: Route;
  /** With the upstream's model name. */
  readonly request: AskedRequest;
  /** About how many bytes it has. */
  readonly bytes?: number;
  readonly conversation: Conversation;
  readonly lease: TurnLease;
  readonly output: TurnOutput;
  readonly progress: TurnProgress;
  /** Whether the answer shows usage, so that missing figures are worth counting. */
  readonly wantsUsage: boolean;
  /** The images the request names by their addresses; undefined when it names none. */
  readonly images?: TurnImages | undefined;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/**
 * One try on one account. Resolves to the error that ended it, or to nothing when the answer is complete. An error
 * after content is written out; one before content is the caller's, for another account may still give the answer.
 */
export async function attemptTurn(
  dependencies: AttemptDependencies,
  attempt: Attempt,
): Promise<AppError | undefined> {
  const { runningCalls } = dependencies;
  const { conversation, lease, output, signal } = attempt;
  const remembered = conversation.goOn(lease.account.id);
  dependencies.models.noteTeam(attempt.route.provider, lease.account);
  let call: RunningCall | undefined;
  let onAbort = () => {};

  try {
    const opened = await openCall(dependencies, attempt, remembered);
    signal.throwIfAborted();
    const reader = createReader(attempt, dependencies);
    const steps = debugLog(attempt.logger) && upstreamSteps(attempt, dependencies.clock);

    const error = await new Promise<AppError | undefined>((resolve, reject) => {
      const running: RunningCall = opened.start({
        onStatus: steps?.onStatus,
        onEvents(events) {
          steps?.onEvents(events);
          try {
            return reader.read(events, resolve, () => running.discard());
          } catch (thrown) {
            // A fault of our own: it must not look like one of the account's.
            reject(thrown);
            running.discard();
            return true;
          }
        },
        onConnected: () => dependencies.reach.connected(attempt.route.provider.name),
        onClosed: () => runningCalls.delete(running),
      });
      call = running;
      runningCalls.add(running);
      output.resume = () => running.resume();
      onAbort = () => running.abort(AppError.from(signal.reason));
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });

    if (opened.isModelListOutdated()) dependencies.models.outdated(attempt.route.provider);
    const { bytes = 0, progress } = attempt;
    const isTooLarge = bytes + progress.outputCharacters > maxEntryBytes;
    const isRemembered = !error && !reader.isCut && !isTooLarge;
    const memory = isRemembered ? opened.memory() : undefined;
    if (memory) conversation.remember(lease.account.id, attempt.progress, memory);
    return error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    output.resume = undefined;
    if (remembered && !call?.isTaken) conversation.restore();
  }
}

/** Logs what the upstream answered to, once it does. */
function upstreamSteps({ logger, lease }: Attempt, clock: Clock) {
  const sentAt = clock.monotonic();
  let status: number | undefined;
  let hasAnswered = false;
  return {
    onStatus(given: number) {
      status = given;
    },
    onEvents([first]: readonly TurnEvent[]) {
      if (hasAnswered) return;
      hasAnswered = true;
      const afterMs = Math.round(clock.monotonic() - sentAt);
      const fields = { account_id: lease.account.id, status, first_event: first?.type, after_ms: afterMs };
      logger.debug(fields, 'the upstream answers');
    },
  };
}

interface OpenedCall {
  start(listener: CallListener): RunningCall;
  /** After a good end. */
  memory(): ConversationMemory | undefined;
  isModelListOutdated(): boolean;
}

/** The provider's own way to carry a turn, ready to begin. */
async function openCall(
  { dispatcher, userAgent, timeouts, listening, reach, secrets }: AttemptDependencies,
  { route: chosen, request: asked, bytes = 0, lease, output, images, signal }: Attempt,
  claimed: AskedTurn['remembered'],
): Promise<OpenedCall> {
  const { provider } = chosen;
  const account = providerAccountOf(lease.account);
  const turn = { request: asked, ...(claimed ? { remembered: claimed } : {}) };
  const limits = (provider.caller ?? provider.outbound).images;
  const prepared = await prepareTurn(turn, images, { hasVision: !chosen.isBlind, limits }, signal);
  const { request, remembered } = prepared.turn;
  const route = prepared.ignored.length > 0 ? { ...chosen, ignored: prepared.ignored } : chosen;
  if (route !== chosen) output.onRoute(route);
  if (provider.caller) {
    const { caller } = provider;
    const onRunUrl = (runUrl: string) => {
      reach.connected(provider.name);
      output.onRoute({ ...route, runUrl: secrets.redact(runUrl) });
    };
    return {
      start: (listener) =>
        caller.start({ request, account, timeouts, now: listening.now, onRunUrl, ...listener }),
      memory: () => undefined,
      isModelListOutdated: () => false,
    };
  }
  await ownTurn(bytes);
  const { outbound } = provider;
  const answer = outbound.open({ request, ...(remembered ? { remembered } : {}) });
  const baseUrl = await provider.baseUrl();
  const authHeaders = provider.authHeaders(account);
  return {
    start: (listener) =>
      callUpstream({
        dispatcher,
        baseUrl,
        needsHttp2: provider.needsHttp2 === true,
        outbound,
        answer,
        authHeaders,
        userAgent,
        timeouts,
        now: listening.now,
        ...listener,
      }),
    memory: () => answer.decoder.memory(),
    isModelListOutdated: () => answer.decoder.isModelListOutdated ?? false,
  };
}

/** What was used, by the upstream's figures or by ours. */
export function countedUsage(request: AskedRequest, progress: TurnProgress): Usage | undefined {
  const { usage, outputCharacters } = progress;
  if (hasTokens(usage) || outputCharacters === 0) return usage;
  return withChargeOf(usage, roughUsage(request, outputCharacters));
}

/** An upstream may tell what it charged and no tokens; no turn takes zero of both. */
function hasTokens(usage: Usage | undefined): usage is Usage {
  return usage !== undefined && (usage.inputTokens > 0 || usage.outputTokens > 0);
}

function withChargeOf(told: Usage | undefined, counted: Usage): Usage {
  const { credits, costCents } = told ?? {};
  return {
    ...counted,
    ...(credits === undefined ? {} : { credits }),
    ...(costCents === undefined ? {} : { costCents }),
  };
}

/** Passes an attempt's events on to its output, under the rules of one answer. */
function createReader(
  { request, route, output, progress, wantsUsage }: Attempt,
  { clock, secrets }: Pick<AttemptDependencies, 'clock' | 'secrets'>,
) {
  const { maxOutputTokens, stopSequences } = request.limits;
  const { effort, isAsked = false } = request.reasoning;
  const isReasoningHidden = effort === 'none';
  const { emulated } = handlingOf(request, capabilitiesOf(route.provider));
  const limit =
    maxOutputTokens !== undefined && emulated.has('maxTokens')
      ? createOutputLimit(maxOutputTokens, isAsked && !isReasoningHidden)
      : undefined;
  const stopCut =
    stopSequences !== undefined && emulated.has('stop') ? createStopCut(stopSequences) : undefined;
  const isCallLimited = emulated.has('toolChoice') || emulated.has('parallelToolCalls');
  const callLimit = isCallLimited ? createCallLimit(request) : undefined;
  let isUsageUnsent = false;
  let isCut = false;

  function write(events: readonly TurnEvent[]): boolean {
    if (!isUsageUnsent || !hasTokens(progress.usage)) return output.write(events);
    isUsageUnsent = false;
    return output.write([{ type: 'usage', usage: progress.usage }, ...events]);
  }

  return {
    /** The upstream was stopped, or a call of its was left out: it has more in mind than the client saw. */
    get isCut() {
      return isCut || callLimit?.hasDropped === true;
    },

    read(
      events: readonly TurnEvent[],
      end: (error: AppError | undefined) => void,
      discard: () => void,
    ): boolean {
      let batch = isReasoningHidden ? events.filter(({ type }) => type !== 'reasoning-delta') : events;
      if (callLimit) batch = callLimit.apply(batch);
      if (stopCut) batch = stopCut.apply(batch);
      if (limit) batch = limit.apply(batch);
      const hasContent = noteEvents(progress, batch);
      if (progress.outputCharacters > mostOutputCharacters) {
        batch = [{ type: 'error', error: tooLong() }];
      }
      const last = batch[batch.length - 1];
      if (isTerminal(last) && last !== events[events.length - 1]) {
        isCut = true;
        discard();
      }
      if (hasContent) progress.firstContentAt ??= clock.monotonic();

      if (last?.type === 'error') {
        secrets.clean(last.error, () => JSON.stringify(request));
        // Before content the error stays here, and content of the same batch with it.
        if (progress.isContentSent && last.error.code !== 'cancelled') write(batch);
        end(last.error);
        return true;
      }
      if (last?.type === 'finish') {
        if (hasTokens(progress.usage) || !wantsUsage) write(batch);
        else {
          progress.usage = withChargeOf(progress.usage, estimateUsage(request, progress));
          isUsageUnsent = false;
          const content = batch.filter(({ type }) => type !== 'usage' && type !== 'finish');
          write([...content, { type: 'usage', usage: progress.usage }, last]);
        }
        end(undefined);
        return true;
      }
      if (!hasContent && !progress.isContentSent) {
        isUsageUnsent = progress.usage !== undefined;
        return true;
      }
      if (!output.isBuffered) progress.isContentSent = true;
      return batch.length === 0 || write(batch);
    },
  };
}

/** Room for an answer that repeats the largest request; no model writes a tenth of that. All of it is kept until the turn has ended. */
const mostOutputCharacters = 40_000_000;

/** The limit is ours, and the same request would meet it again. */
function tooLong(): AppError {
  return new AppError('upstream_protocol', 'The upstream sent more than an answer can hold; ask for less.', {
    fault: 'service',
    failover: 'no',
  });
}

function isTerminal(event: TurnEvent | undefined): boolean {
  return event?.type === 'finish' || event?.type === 'error';
}
