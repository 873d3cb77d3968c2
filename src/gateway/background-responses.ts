import { AppError } from '../core/errors.ts';
import type { HeldBody } from '../lib/body-budget.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { sleep } from '../lib/sleep.ts';
import { createResponsesInbound } from '../protocols/openai-responses/inbound.ts';
import { createResponseEvents, type ResponseEvents } from '../protocols/openai-responses/response-events.ts';
import { serverSentEvent, streamEnd } from '../protocols/openai-responses/stream-encoder.ts';
import { answerHeads, modelsOf } from './answer-head.ts';
import type { TurnOutput } from './attempt.ts';
import type { ClientTurns } from './client-turns.ts';
import { createDrain } from './drain.ts';
import { createEventLog, type EventLog } from './event-log.ts';
import { aliveMs, beatMs, startBeating } from './response-beat.ts';
import type { ReadRequest } from './responses-request.ts';
import type { Routes } from './routes.ts';
import { isUnderWay, type StoredResponse, type StoredResponses } from './stored-responses.ts';

export interface BackgroundResponsesOptions {
  readonly clientTurns: ClientTurns;
  readonly routes: Pick<Routes, 'resolve'>;
  readonly responses: StoredResponses;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface BackgroundRun extends ReadRequest {
  readonly clientId: string;
  readonly requestId: string;
  readonly affinityKey: string | undefined;
  /** Shared by the run, which goes on after the answer that reports its start. */
  readonly held: HeldBody | null;
}

export interface StartedRun {
  readonly response: ResponseObject;
  readonly headers: Readonly<Record<string, string>>;
  /** Of a streamed one. */
  readonly log: EventLog | undefined;
}

type ResponseObject = Readonly<Record<string, unknown>>;

/** A response, and the model that answers it as far as that is known. */
export type LookedUp = Pick<StoredResponse, 'response' | 'answeredBy'>;

/** Responses whose clients do not wait for them. */
export interface BackgroundResponses {
  /** Turns under way. */
  readonly count: number;
  /** Answers the response once it is stored; its turn goes on by itself. Throws AppError. */
  start(run: BackgroundRun): Promise<StartedRun>;
  /** A stored response as it is now. Throws AppError `not_found`. */
  look(clientId: string, id: string): Promise<LookedUp>;
  /** Ends a run, wherever it is, and answers what became of the response. Throws AppError. */
  cancel(clientId: string, id: string): Promise<LookedUp>;
  /** Forgets a stored response, and ends its run wherever it is. Throws AppError `not_found`. */
  remove(clientId: string, id: string): Promise<void>;
  /** The events of a response that was made here and streamed; undefined where they are not there any more. */
  logOf(clientId: string, id: string): EventLog | undefined;
  /** Resolves when none runs. Turns are ended with an error after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>;
}

interface Run {
  readonly clientId: string;
  readonly abort: AbortController;
  readonly log: EventLog | undefined;
  readonly ended: Promise<void>;
  isForgotten: boolean;
  current(): LookedUp;
}

const maxRuns = 200;
const maxRunsOfClient = 20;
const maxLogBytes = 1024 * 1024;
/** How long the events of an ended response can still be followed. */
const logKeptMs = 5 * 60_000;
const cancelMarkMs = 60_000;
/** How long a cancel waits for another instance. */
const cancelWaitMs = 6_000;

export function createBackgroundResponses(options: BackgroundResponsesOptions): BackgroundResponses {
  const { clientTurns, responses, clock, logger } = options;
  const runs = new Map<string, Run>();
  /** Of runs that ended lately. */
  const logs = new Map<string, { readonly clientId: string; readonly log: EventLog }>();
  const drain = createDrain(clock);

  const runOf = (clientId: string, id: string): Run | undefined => {
    const run = runs.get(id);
    return run?.clientId === clientId ? run : undefined;
  };

  function checkRoom(clientId: string): void {
    const ofClient = [...runs.values()].filter((run) => run.clientId === clientId).length;
    if (runs.size < maxRuns && ofClient < maxRunsOfClient) return;
    throw new AppError(
      'key_rate_limited',
      'background: too many responses run in the background: wait until one has ended, or cancel one.',
      { param: 'background', retryAfterMs: 10_000 },
    );
  }

  async function start(request: BackgroundRun): Promise<StartedRun> {
    const { clientId, asked, decoded, before } = request;
    if (asked.store === false) {
      throw new AppError(
        'invalid_request',
        'store: a response in the background has to be stored: leave it out.',
        {
          param: 'store',
        },
      );
    }
    clientTurns.check(decoded);
    // What is wrong with the model is said now, and not by a response that fails.
    const route = await options.routes.resolve(decoded.request);
    checkRoom(clientId);
    const headFor = answerHeads(createResponsesInbound(), decoded, request.requestId, {
      startedAt: clock.now(),
      now: clock.now,
    });
    const { identity, headers } = headFor(route);
    const log = decoded.isStream ? createEventLog(maxLogBytes) : undefined;
    const { input } = decoded.options;
    let { answeredBy } = identity;
    let ending: ResponseObject | undefined;
    let events = newEvents();

    function newEvents(): ResponseEvents {
      return createResponseEvents(identity, decoded.options, {
        emit: (type, json) => log?.append(serverSentEvent(type, json)),
        onEnd: (response) => {
          ending = response;
        },
      });
    }
    const store = (response: ResponseObject): Promise<void> =>
      responses.put(clientId, {
        response,
        input,
        ancestors: before.ancestors,
        base: before.base,
        answeredBy,
      });

    const output: TurnOutput = {
      // What nobody follows may be begun anew on another account.
      isBuffered: log === undefined,
      resume: undefined,
      onRoute(chosen) {
        answeredBy = modelsOf([chosen]);
        if (log === undefined) events = newEvents();
      },
      write(batch) {
        events.push(batch);
        return true;
      },
    };

    const abort = new AbortController();
    const { promise: ended, resolve: tellEnded } = Promise.withResolvers<void>();
    const run: Run = {
      clientId,
      abort,
      log,
      ended,
      isForgotten: false,
      current: () => ({ response: ending ?? events.current('in_progress'), answeredBy }),
    };
    runs.set(identity.id, run);
    const held = request.held?.share();
    const queued = events.current('queued');
    try {
      await responses.mark(clientId, identity.id, 'alive', aliveMs);
      await store(queued);
    } catch (error) {
      held?.release();
      runEnded(identity.id);
      throw error;
    }
    events.queue();
    void carry();
    return { response: queued, headers, log };

    async function carry(): Promise<void> {
      const stopBeating = startBeating(options, clientId, identity.id, () => abort.abort(wasCancelled()));
      try {
        if (!run.isForgotten) await store(events.current('in_progress')).catch(warn);
        await clientTurns.run({
          protocol: 'responses',
          decoded,
          bytes: held?.bytes ?? 0,
          clientId,
          affinityKey: request.affinityKey,
          requestId: request.requestId,
          wantsUsage: true,
          output,
          signal: abort.signal,
          status: () => 200,
        });
      } catch (error) {
        warn(error);
        if (!ending) events.push([{ type: 'error', error: AppError.from(error) }]);
      }
      // A turn that was cancelled says nothing more by itself.
      if (!ending) events.push([{ type: 'error', error: AppError.from(abort.signal.reason) }]);
      stopBeating();
      if (ending) await store(ending).catch(warn);
      // It may have been written while it was deleted.
      if (await isDeleted()) await removeAnyway(clientId, identity.id).catch(warn);
      else if (log) keepLog(identity.id, clientId, log);
      const isWhole = ending?.['status'] === 'completed' || ending?.['status'] === 'incomplete';
      log?.close(isWhole ? streamEnd : '');
      held?.release();
      tellEnded();
      runEnded(identity.id);
    }
    async function isDeleted(): Promise<boolean> {
      if (run.isForgotten) return true;
      try {
        return await responses.isMarked(clientId, identity.id, 'deleted');
      } catch (error) {
        warn(error);
        return false;
      }
    }
    function warn(error: unknown): void {
      logger.warn({ err: error, request_id: request.requestId }, 'a response in the background had trouble');
    }
  }

  function runEnded(id: string): void {
    runs.delete(id);
    if (runs.size === 0) drain.allOver();
  }

  async function removeAnyway(clientId: string, id: string): Promise<void> {
    try {
      await responses.remove(clientId, id);
    } catch (error) {
      if (AppError.from(error).code !== 'not_found') throw error;
    }
  }

  async function remove(clientId: string, id: string): Promise<void> {
    const run = runOf(clientId, id);
    if (run) {
      run.isForgotten = true;
      run.abort.abort(wasCancelled());
    }
    if (logs.get(id)?.clientId === clientId) logs.delete(id);
    const { response } = await responses.remove(clientId, id);
    if (run || !isUnderWay(response)) return;
    // The instance that makes it looks for this after it has written the response; what it wrote before goes here.
    await responses.mark(clientId, id, 'deleted', cancelMarkMs);
    await responses.mark(clientId, id, 'cancel', cancelMarkMs);
    await removeAnyway(clientId, id);
  }

  function keepLog(id: string, clientId: string, log: EventLog): void {
    logs.set(id, { clientId, log });
    // The oldest go first where many end in a short time.
    for (const oldest of logs.keys()) if (logs.size > maxRuns) logs.delete(oldest);
    clock.after(logKeptMs, () => logs.delete(id));
  }

  async function look(clientId: string, id: string): Promise<LookedUp> {
    const run = runOf(clientId, id);
    if (run && !run.isForgotten) return run.current();
    const stored = await responses.get(clientId, id);
    if (!isUnderWay(stored.response) || (await responses.isMarked(clientId, id, 'alive'))) return stored;
    // It may have ended between the two looks.
    const again = await responses.get(clientId, id);
    if (!isUnderWay(again.response)) return again;
    const message = 'The gateway that made this response stopped before it was complete; ask again.';
    const response = { ...again.response, status: 'failed', error: { code: 'server_error', message } };
    return { ...again, response };
  }

  async function cancel(clientId: string, id: string): Promise<LookedUp> {
    const run = runOf(clientId, id);
    if (run) {
      run.abort.abort(wasCancelled());
      await run.ended;
      return run.current();
    }
    const until = clock.monotonic() + cancelWaitMs;
    for (let isAsked = false; ; ) {
      const found = await look(clientId, id);
      const { response } = found;
      if (response['background'] !== true) {
        throw new AppError(
          'invalid_request',
          'Only a response that was made with "background": true can be cancelled; close the connection to end another.',
          { param: 'response_id' },
        );
      }
      if (!isUnderWay(response) || clock.monotonic() >= until) return found;
      if (!isAsked) await responses.mark(clientId, id, 'cancel', cancelMarkMs);
      isAsked = true;
      await sleep(clock, beatMs / 8);
    }
  }

  return {
    get count() {
      return runs.size;
    },
    start,
    look,
    cancel,
    remove,
    logOf(clientId, id) {
      const kept = logs.get(id);
      return runOf(clientId, id)?.log ?? (kept?.clientId === clientId ? kept.log : undefined);
    },
    async drain(deadlineMs) {
      if (runs.size === 0) return;
      await drain.wait(deadlineMs, (error) => {
        for (const { abort } of runs.values()) abort.abort(error);
      });
    },
  };
}

function wasCancelled(): AppError {
  return new AppError('cancelled', 'The response was cancelled.');
}
