import { randomUUID } from 'node:crypto';
import type { OzAPI } from 'oz-agent-sdk';
import { AppError } from '../../core/errors.ts';
import type { ImageLimits } from '../../core/protocol.ts';
import type { RunningCall, TurnCall } from '../../core/provider.ts';
import type { ImagePart, TurnEvent, TurnRequest } from '../../core/turn.ts';
import { withJitter } from '../../lib/backoff.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { amount } from '../../lib/parse-json.ts';
import { wholeQuery } from '../../protocols/shared/fold-history.ts';
import {
  beginRun,
  cancelRun,
  findRun,
  type OzClients,
  type OzRun,
  type RunBody,
  readRun,
  readSaid,
} from './calls.ts';
import { errorFromOz, errorOfRun, hasSurelyBegunNothing, statusOf } from './failures.ts';

export interface RunOptions {
  readonly clients: OzClients;
  readonly environmentId: string | undefined;
  /** The longest a run may take before it is cancelled. */
  readonly runTimeoutMs: number;
  /** Where a run can be watched, as far as that is known before the run says so itself. */
  readonly runUrlOf: (runId: string) => string | undefined;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly logger: Logger;
}

export interface Run {
  readonly call: RunningCall;
  /** Nothing is under way any more, the cancelling included. Never rejects. */
  readonly ended: Promise<void>;
}

const firstLookMs = 1_000;
const lookAtLeastEveryMs = 5_000;
/** How often a run whose id was lost is looked for. */
const looksForLost = 4;
/** How often an answer is asked for that a run which ended well should have. */
const looksForAnswer = 5;
const cancelForMs = 60_000;
/** More than any run costs. */
const mostCredits = 1e9;

/** One turn as a run: begun once, looked at until it ends, cancelled when its answer is no longer wanted. */
export function startRun(options: RunOptions, call: TurnCall): Run {
  const { clock } = options;
  const name = `warp2api-${randomUUID()}`;
  const body = runBodyOf(call.request, { name, environmentId: options.environmentId });
  const wantsJson = call.request.responseFormat.type !== 'text';
  const startedAt = call.now();
  const stop = new AbortController();
  let heardAt = startedAt;
  let trouble: AppError | undefined;
  let isOver = false;
  let isTaken = false;
  let isAtWork = false;
  let sent = '';
  let shownUrl: string | undefined;
  let paused: PromiseWithResolvers<void> | undefined;

  function emit(events: readonly TurnEvent[]): void {
    if (isOver) return;
    const last = events[events.length - 1];
    const isEnd = last?.type === 'finish' || last?.type === 'error';
    if (isEnd) isOver = true;
    const goOn = call.listener.onEvents(events);
    if (isEnd) stop.abort();
    else if (!goOn) paused ??= Promise.withResolvers();
  }

  function fail(error: AppError): void {
    emit([{ type: 'error', error }]);
  }

  function showUrl(url: string | null | undefined): void {
    if (!url || url === shownUrl || sent !== '' || isOver) return;
    shownUrl = url;
    call.listener.onRunUrl?.(url);
  }

  async function carry(): Promise<void> {
    const oz = await options.clients(call.account.bearer);
    if (isOver) return;
    const runId = await begin(oz);
    if (runId === undefined) return;
    showUrl(options.runUrlOf(runId));
    const hasEnded = await follow(oz, runId);
    if (!hasEnded) await cancel(oz, runId);
  }

  /** Undefined: there is no run, and the call has failed. Completes even if the run is no longer wanted by then. */
  async function begin(oz: OzAPI): Promise<string | undefined> {
    isTaken = true;
    try {
      return await beginRun(oz, body);
    } catch (thrown) {
      if (hasSurelyBegunNothing(thrown)) {
        isTaken = false;
        fail(errorFromOz(thrown));
        return undefined;
      }
      return await findBegun(oz, thrown);
    }
  }

  /** The answer is lost, so the run may be there: it is looked for, and never begun again. */
  async function findBegun(oz: OzAPI, lost: unknown): Promise<string | undefined> {
    for (let looks = 0; looks < looksForLost; looks += 1) {
      await sleep(clock, delay(looks));
      try {
        const runId = await findRun(oz, name);
        if (runId !== undefined) return runId;
      } catch (error) {
        options.logger.info({ err: error, run_name: name }, 'a run could not be looked for');
      }
    }
    options.logger.warn({ err: lost, run_name: name }, 'whether a run was begun is not known');
    const message = 'Whether the upstream has begun a run is not known, so none was begun again. Try again.';
    const { code, fault } = errorFromOz(lost);
    fail(new AppError(code, message, { cause: lost, fault, isFinal: true }));
    return undefined;
  }

  /** True when the run has ended; false when it may go on. */
  async function follow(oz: OzAPI, runId: string): Promise<boolean> {
    let quietLooks = 0;
    while (!isOver) {
      await sleep(clock, Math.max(delay(quietLooks), trouble?.retryAfterMs ?? 0), stop.signal);
      await paused?.promise;
      if (isOver) break;
      quietLooks += 1;
      try {
        const run = await readRun(oz, runId, stop.signal);
        heardAt = call.now();
        trouble = undefined;
        showUrl(run.session_link);
        isAtWork ||= run.state === 'INPROGRESS' || typeof run.started_at === 'string';
        switch (run.state) {
          case 'INPROGRESS':
            if (!wantsJson && (await passOn(oz, runId))) quietLooks = 0;
            break;
          case 'SUCCEEDED':
            await finish(oz, runId, run);
            return true;
          case 'FAILED':
          case 'ERROR':
          case 'BLOCKED':
          case 'CANCELLED':
            fail(errorOfRun(run.state, run.status_message, { isFinal: isAtWork }));
            return true;
          default:
          // It waits for its turn, or is in a state that did not exist when this was written.
        }
      } catch (thrown) {
        if (isOver) break;
        trouble = errorFromOz(thrown);
        const status = statusOf(thrown);
        // A run just begun may not be known everywhere yet; every other refusal stays as it is.
        const isLasting = status !== undefined && status < 500 && status !== 404 && !isPassing(trouble);
        if (isLasting) fail(asFinal(trouble));
      }
    }
    return false;
  }

  /** What the agent has said since the last look; true when there was something. */
  async function passOn(oz: OzAPI, runId: string): Promise<boolean> {
    let said: string;
    try {
      // Blanks at the end may be followed by what makes others of them.
      said = (await readSaid(oz, runId, stop.signal)).join('\n\n').trimEnd();
    } catch (thrown) {
      // While the run works there may be none yet, and what could not be had now comes with a later look.
      const error = errorFromOz(thrown);
      if (!isOver) options.logger.debug({ err: error, run_id: runId }, 'no conversation of the run yet');
      return false;
    }
    if (said.length <= sent.length || !said.startsWith(sent)) return false;
    const text = said.slice(sent.length);
    sent = said;
    emit([{ type: 'text-delta', text }]);
    return true;
  }

  async function finish(oz: OzAPI, runId: string, run: OzRun): Promise<void> {
    const said = await answerOf(oz, runId);
    if (said === undefined) return;
    if (!said.startsWith(sent)) {
      const message =
        'The run took back what it had said, so its answer cannot be passed on. Look at the run.';
      fail(new AppError('upstream_protocol', message, { isFinal: true }));
      return;
    }
    const text = said.slice(sent.length);
    const { inference_cost, compute_cost, platform_cost } = run.request_usage ?? {};
    const credits = [inference_cost, compute_cost, platform_cost].reduce<number>(
      (sum, cost) => sum + amount(cost ?? 0, mostCredits),
      0,
    );
    const usage = { inputTokens: 0, outputTokens: 0, credits };
    emit([
      ...(text === '' ? [] : [{ type: 'text-delta' as const, text }]),
      ...(run.request_usage ? [{ type: 'usage' as const, usage }] : []),
      { type: 'finish', reason: 'stop' },
    ]);
  }

  /** Undefined: the call is over. An answer that has to be JSON is the last message alone; what came before is talk. */
  async function answerOf(oz: OzAPI, runId: string): Promise<string | undefined> {
    let last: unknown;
    for (let looks = 0; looks < looksForAnswer && !isOver; looks += 1) {
      if (looks > 0) await sleep(clock, delay(looks), stop.signal);
      try {
        const said = await readSaid(oz, runId, stop.signal);
        const answer = wantsJson ? said.at(-1) : said.join('\n\n');
        if (answer) return answer;
      } catch (thrown) {
        last = thrown;
      }
    }
    const message = 'The run has ended well, but its answer could not be had. Look at the run.';
    fail(new AppError('upstream_protocol', message, { cause: last, isFinal: true }));
    return undefined;
  }

  async function cancel(oz: OzAPI, runId: string): Promise<void> {
    const until = clock.monotonic() + cancelForMs;
    for (let tries = 0; ; tries += 1) {
      try {
        await cancelRun(oz, runId);
        return;
      } catch (thrown) {
        const status = statusOf(thrown);
        // It has ended meanwhile.
        if (status === 400 || status === 404) return;
        const isHopeless = status === 401 || status === 403 || status === 422;
        if (isHopeless || clock.monotonic() >= until) {
          const fact = { err: thrown, run_id: runId, run_url: shownUrl };
          options.logger.warn(fact, 'an unwanted run could not be cancelled: it may go on and cost');
          return;
        }
        // A run that is being prepared says 409 until it can be cancelled.
        await sleep(clock, delay(tries));
      }
    }
  }

  /** Ever longer, and never in step with others. */
  function delay(looks: number): number {
    const base = Math.min(firstLookMs * 1.5 ** looks, lookAtLeastEveryMs);
    return withJitter(base, 0.8, 1.2, options.random);
  }

  function end(error: AppError): void {
    fail(asFinal(error));
    paused?.resolve();
  }

  const ended = carry()
    .catch((thrown: unknown) => fail(AppError.from(thrown)))
    .finally(() => call.listener.onClosed());

  return {
    ended,
    call: {
      get isTaken() {
        return isTaken;
      },
      resume() {
        heardAt = call.now();
        paused?.resolve();
        paused = undefined;
      },
      abort: end,
      discard() {
        isOver = true;
        stop.abort();
        paused?.resolve();
      },
      checkTimeouts(now) {
        if (isOver) return;
        if (now - startedAt >= options.runTimeoutMs) {
          const seconds = Math.round(options.runTimeoutMs / 1000);
          const message = `The run took longer than ${seconds} seconds and is cancelled. Ask for less, or set OZ_RUN_TIMEOUT_SECONDS.`;
          end(new AppError('upstream_timeout', message));
        } else if (!paused && now - heardAt >= call.timeouts.idleMs) {
          const message = 'The upstream no longer says how the run is doing; try again.';
          end(trouble ?? new AppError('upstream_timeout', message));
        }
      },
    },
  };
}

function isPassing({ code }: AppError): boolean {
  return code === 'upstream_unavailable' || code === 'upstream_rate_limited';
}

/** The run may have done its work already, and cost. */
function asFinal(error: AppError): AppError {
  if (error.failover === 'no') return error;
  return new AppError(error.code, error.message, {
    cause: error.cause ?? error,
    fault: error.fault,
    isFinal: true,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
  });
}

/** The model name that stands for the team's own default. */
export const defaultModel = 'auto';

/** The vendor takes at most this many attachments with one prompt. */
export const imageLimits: ImageLimits = { maxCount: 5 };

/**
 * One turn as one run, the whole conversation in its prompt. Throws AppError `invalid_request` naming what a run cannot
 * carry.
 */
function runBodyOf(
  request: TurnRequest,
  options: { readonly name: string; readonly environmentId: string | undefined },
): RunBody {
  if (request.tools.length > 0 && request.toolChoice.type !== 'none') {
    throw new AppError(
      'invalid_request',
      'A run at Oz cannot call tools of the client: leave tools out, or use a model of a Warp account (warp/...).',
      { param: 'tools' },
    );
  }
  const { query, images } = wholeQuery(request);
  const system = request.messages
    .flatMap((message) => (message.role === 'system' ? message.parts.map((part) => part.text) : []))
    .filter((text) => text.trim() !== '')
    .join('\n\n');
  return {
    prompt: query,
    config: {
      // By this name the run is found again, should the answer that tells its id be lost.
      name: options.name,
      ...(request.model === defaultModel ? {} : { model_id: request.model }),
      ...(system === '' ? {} : { base_prompt: system }),
      ...(options.environmentId === undefined ? {} : { environment_id: options.environmentId }),
      // Nobody comes back to the run, and the time its machine waits costs as well.
      idle_timeout_minutes: 1,
    },
    ...(images.length === 0 ? {} : { attachments: images.map(attachmentOf) }),
  };
}

function attachmentOf({ mediaType, data }: ImagePart, index: number) {
  return { file_name: `image-${index + 1}.${mediaType.slice('image/'.length)}`, mime_type: mediaType, data };
}
