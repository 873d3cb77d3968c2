import { handlingOf } from '../../core/capabilities.ts';
import { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn } from '../../core/protocol.ts';
import { capabilitiesOf } from '../../core/provider.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import type { HeldBody } from '../../lib/http/body-budget.ts';
import type { Logger } from '../../lib/log/logger.ts';
import type { TraceHeaders } from '../../lib/telemetry/trace-headers.ts';
import { serverSentEvent, streamEnd } from '../../protocols/openai-responses/encode-answer.ts';
import { createResponsesInbound } from '../../protocols/openai-responses/inbound.ts';
import { ResponseEvents } from '../../protocols/openai-responses/response-events.ts';
import type { ClientKey, ClientKeys } from '../keys/client-key.ts';
import type { Allowance } from '../limits/allowance.ts';
import type { Routes } from '../models/routing.ts';
import { AnswerHead, modelsOf } from '../output/answer-head.ts';
import { EventLog } from '../output/event-log.ts';
import type { Attempt } from '../turn/attempt.ts';
import type { AdmittedTurn, ClientTurns } from '../turn/client-turns.ts';
import { type Carrier, type RunningTurns, TurnSignal } from '../turn/running-turns.ts';
import type { TurnOutput } from '../turn/turn-output.ts';
import type { ReadRequest } from './responses-request.ts';
import { isUnderWay, type StoredResponse, type StoredResponses } from './stored-responses.ts';

export interface BackgroundResponsesOptions {
  readonly clientTurns: Pick<ClientTurns, 'check' | 'admit' | 'begin' | 'refused' | 'run'>;
  readonly routes: Pick<Routes, 'plan'>;
  readonly running: RunningTurns;
  readonly responses: StoredResponses;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly keys: Pick<ClientKeys, 'renewed' | 'faultOf'>;
}

export interface BackgroundRequest extends ReadRequest {
  readonly client: ClientKey;
  readonly requestId: string;
  readonly affinityKey: string | undefined;
  readonly trace?: TraceHeaders | undefined;
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

/** How often the store is asked whether another instance has cancelled a response that is made here. */
const heartbeatMs = 2_000;
/** How long a response counts as alive after its last flag, which is renewed three times as often. */
const aliveMs = 30_000;
const maxRuns = 200;
const maxRunsOfClient = 20;
const maxLogBytes = 1024 * 1024;
/** How long the events of an ended response can still be followed. */
const logKeptMs = 5 * 60_000;
const cancelFlagMs = 60_000;
/** How long a cancel waits for another instance. */
const cancelWaitMs = 6_000;

/** Responses whose clients do not wait for them. */
export class BackgroundResponses {
  readonly #options: BackgroundResponsesOptions;
  readonly #runs = new Map<string, BackgroundRun>();
  /** Of runs that ended lately. */
  readonly #logs = new Map<string, { readonly clientId: string; readonly log: EventLog }>();

  constructor(options: BackgroundResponsesOptions) {
    this.#options = options;
  }

  /** Returns the response once it is stored; its turn goes on in the background. Throws AppError. */
  async start(request: BackgroundRequest): Promise<StartedRun> {
    const { clientTurns, routes, responses, running, clock, keys } = this.#options;
    const { asked, decoded, requestId, held } = request;
    if (asked.store === false) {
      const reason = 'store: a response in the background has to be stored: leave it out.';
      throw new AppError('invalid_request', reason, { param: 'store' });
    }
    const client = keys.renewed(request.client);
    const affinityKey = request.affinityKey ?? decoded.affinityKey;
    clientTurns.check(decoded);
    // What is wrong with the model is said now, and not by a response that fails.
    const plan = await routes.plan(decoded.request, { client, affinityKey, decoded });
    this.#checkRoom(client.id);
    const answering = plan.candidates.map((route) => {
      const handling = handlingOf(decoded.request, capabilitiesOf(route.provider, route.model));
      return { route, handling };
    });
    const able = answering.filter(({ handling }) => handling.refusal === undefined);
    if (able.length === 0) throw answering[0]?.handling.refusal ?? new Error('No candidate for a response.');
    const turn = await clientTurns.admit({
      protocol: 'responses',
      decoded,
      client,
      affinityKey,
      requestId,
      bytes: held?.bytes ?? 0,
      wantsUsage: true,
      plan,
    });
    // Others may have begun meanwhile.
    this.#checkRoom(client.id, turn.allowance);
    const head = new AnswerHead(createResponsesInbound(), turn, clock.now);
    const first = able.slice(0, 1);
    const headers = head.headers(first);
    const run = new BackgroundRun(request, turn, head.identity(first));
    this.#runs.set(run.id, run);
    running.add(run);
    // It may have been revoked meanwhile; from here on that ends the run.
    const fault = keys.faultOf(client);
    if (fault) run.abort(fault);
    const shared = held?.share();
    const queued = run.queued();
    try {
      await responses.flag(client.id, run.id, 'alive', aliveMs);
      await responses.put(client.id, run.toStore(queued));
    } catch (error) {
      shared?.release();
      turn.allowance?.release();
      this.#forget(run);
      throw error;
    }
    run.queue();
    void this.#carry(run).finally(() => shared?.release());
    return { response: queued, headers, log: run.log };
  }

  async #carry(run: BackgroundRun): Promise<void> {
    const { clientTurns, responses, logger } = this.#options;
    const { id, clientId, turn } = run;
    const warn = (error: unknown): void =>
      logger.warn({ err: error, request_id: turn.requestId }, 'a response in the background had trouble');
    const over = new AbortController();
    void this.#watch(run, over.signal);
    try {
      if (!run.isForgotten) await responses.put(clientId, run.toStore(run.inProgress())).catch(warn);
      const { trace } = run.request;
      const call = { by: 'background', method: 'POST', path: '/v1/responses', trace } as const;
      await clientTurns.run(clientTurns.begin(turn, call, run.signal), run);
    } catch (error) {
      warn(error);
      run.breakOff(AppError.from(error));
    }
    // A cancelled turn writes no last event.
    run.breakOff(AppError.from(run.signal.reason));
    over.abort();
    if (run.ending) await responses.put(clientId, run.toStore(run.ending)).catch(warn);
    // It may have been written while it was deleted.
    const isDeleted = run.isForgotten || (await responses.isFlagged(clientId, id, 'deleted').catch(warn));
    if (isDeleted) await this.#removeAnyway(clientId, id).catch(warn);
    else if (run.log) this.#keepLog(id, clientId, run.log);
    run.close();
    this.#forget(run);
  }

  /** Flags a response as alive in the store, and ends its run when another instance has cancelled it there. */
  async #watch(run: BackgroundRun, over: AbortSignal): Promise<void> {
    const { responses, clock, logger } = this.#options;
    const { id, clientId } = run;
    const perFlag = aliveMs / heartbeatMs / 3;
    for (let beat = 0; ; beat += 1) {
      await sleep(clock, heartbeatMs, over);
      if (over.aborted) return;
      try {
        if (beat % perFlag === 0) await responses.flag(clientId, id, 'alive', aliveMs);
        if (await responses.isFlagged(clientId, id, 'cancel')) run.abort(wasCancelled());
      } catch (error) {
        logger.debug({ err: error }, 'the store did not say whether a response is to be cancelled');
      }
    }
  }

  /** A stored response as it is now. Throws AppError `not_found`. */
  async look(clientId: string, id: string): Promise<LookedUp> {
    const { responses } = this.#options;
    const run = this.#runOf(clientId, id);
    if (run && !run.isForgotten) return run.current();
    const stored = await responses.get(clientId, id);
    if (!isUnderWay(stored.response) || (await responses.isMadeElsewhere(clientId, id))) return stored;
    // It may have ended between the two looks.
    const again = await responses.get(clientId, id);
    if (!isUnderWay(again.response)) return again;
    const message = 'The gateway that made this response stopped before it was complete; ask again.';
    const response = { ...again.response, status: 'failed', error: { code: 'server_error', message } };
    return { ...again, response };
  }

  /** Ends a run, wherever it is, and returns what became of the response. Throws AppError. */
  async cancel(clientId: string, id: string): Promise<LookedUp> {
    const { responses, clock } = this.#options;
    const run = this.#runOf(clientId, id);
    if (run) {
      run.abort(wasCancelled());
      await run.ended;
      return run.current();
    }
    const until = clock.monotonic() + cancelWaitMs;
    for (let isAsked = false; ; ) {
      const found = await this.look(clientId, id);
      const { response } = found;
      if (response['background'] !== true) {
        throw new AppError(
          'invalid_request',
          'Only a response that was made with "background": true can be cancelled; close the connection to end another.',
          { param: 'response_id' },
        );
      }
      if (!isUnderWay(response) || clock.monotonic() >= until) return found;
      if (!isAsked) await responses.flag(clientId, id, 'cancel', cancelFlagMs);
      isAsked = true;
      await sleep(clock, heartbeatMs / 8);
    }
  }

  /** Forgets a stored response, and ends its run wherever it is. Throws AppError `not_found`. */
  async remove(clientId: string, id: string): Promise<void> {
    const { responses } = this.#options;
    const run = this.#runOf(clientId, id);
    if (run) {
      run.isForgotten = true;
      run.abort(wasCancelled());
    }
    if (this.#logs.get(id)?.clientId === clientId) this.#logs.delete(id);
    const { response } = await responses.remove(clientId, id);
    if (run || !isUnderWay(response)) return;
    // The instance that makes it looks for this after it has written the response; what it wrote before goes here.
    await responses.flag(clientId, id, 'deleted', cancelFlagMs);
    await responses.flag(clientId, id, 'cancel', cancelFlagMs);
    await this.#removeAnyway(clientId, id);
  }

  /** The events of a response that was made here and streamed; undefined where they are not there any more. */
  logOf(clientId: string, id: string): EventLog | undefined {
    const kept = this.#logs.get(id);
    return this.#runOf(clientId, id)?.log ?? (kept?.clientId === clientId ? kept.log : undefined);
  }

  #runOf(clientId: string, id: string): BackgroundRun | undefined {
    const run = this.#runs.get(id);
    return run?.clientId === clientId ? run : undefined;
  }

  #forget(run: BackgroundRun): void {
    this.#runs.delete(run.id);
    this.#options.running.delete(run);
  }

  #checkRoom(clientId: string, allowance?: Allowance): void {
    const ofClient = [...this.#runs.values()].filter((run) => run.clientId === clientId).length;
    if (this.#runs.size < maxRuns && ofClient < maxRunsOfClient) return;
    allowance?.release();
    throw new AppError(
      'key_rate_limited',
      'background: too many responses run in the background: wait until one has ended, or cancel one.',
      { param: 'background', retryAfterMs: 10_000 },
    );
  }

  async #removeAnyway(clientId: string, id: string): Promise<void> {
    try {
      await this.#options.responses.remove(clientId, id);
    } catch (error) {
      if (AppError.from(error).code !== 'not_found') throw error;
    }
  }

  #keepLog(id: string, clientId: string, log: EventLog): void {
    const logs = this.#logs;
    logs.set(id, { clientId, log });
    // The oldest go first where many end in a short time.
    for (const oldest of logs.keys()) if (logs.size > maxRuns) logs.delete(oldest);
    this.#options.clock.after(logKeptMs, () => logs.delete(id));
  }
}

/** One response while it is made: its events go to a log where the client asked for a stream. */
class BackgroundRun implements Carrier, TurnOutput {
  readonly clientId: string;
  readonly turn: AdmittedTurn;
  readonly turnCount = 1;
  readonly isStream = false;
  readonly status = 200;
  readonly request: BackgroundRequest;
  readonly log: EventLog | undefined;
  readonly #identity: AnswerIdentity;
  readonly signal = new TurnSignal();
  readonly #ended = Promise.withResolvers<void>();
  #events: ResponseEvents;
  #answeredBy: string | undefined;
  ending: ResponseObject | undefined;
  /** It was deleted meanwhile. */
  isForgotten = false;

  constructor(request: BackgroundRequest, turn: AdmittedTurn, identity: AnswerIdentity) {
    this.clientId = turn.client.id;
    this.turn = turn;
    this.request = request;
    this.log = request.decoded.isStream ? new EventLog(maxLogBytes) : undefined;
    this.#identity = identity;
    this.#answeredBy = identity.answeredBy;
    this.#events = this.#newEvents();
  }

  get id(): string {
    return this.#identity.id;
  }
  get ended(): Promise<void> {
    return this.#ended.promise;
  }
  /** What no client follows may be begun again on another account. */
  get isBuffered(): boolean {
    return this.log === undefined;
  }

  tick(): void {}
  abort(error: AppError): void {
    this.signal.abort(error);
  }
  /** It ends once it is stored. */
  cut(): void {}

  begin(attempt: Attempt): void {
    this.#answeredBy = modelsOf([attempt]);
    if (this.isBuffered) this.#events = this.#newEvents();
  }
  write(events: readonly TurnEvent[]): undefined {
    this.#events.push(events);
  }
  finish(_answer: CollectedTurn, events: readonly TurnEvent[]): void {
    this.write(events);
  }
  fail(_error: AppError, events: readonly TurnEvent[]): void {
    this.write(events);
  }

  /** Unless it has ended. */
  breakOff(error: AppError): void {
    if (!this.ending) this.write([{ type: 'error', error }]);
  }

  queue(): void {
    this.#events.queue();
  }
  queued(): ResponseObject {
    return this.#events.current('queued');
  }
  inProgress(): ResponseObject {
    return this.#events.current('in_progress');
  }
  current(): LookedUp {
    return { response: this.ending ?? this.inProgress(), answeredBy: this.#answeredBy };
  }
  toStore(response: ResponseObject): StoredResponse {
    const { before, decoded } = this.request;
    const { ancestors, base } = before;
    return { response, input: decoded.options.input, ancestors, base, answeredBy: this.#answeredBy };
  }

  /** Nothing comes any more. */
  close(): void {
    const status = this.ending?.['status'];
    this.log?.close(status === 'completed' || status === 'incomplete' ? streamEnd : '');
    this.#ended.resolve();
  }

  #newEvents(): ResponseEvents {
    return new ResponseEvents(this.#identity, this.request.decoded.options, {
      emit: (type, json) => this.log?.append(serverSentEvent(type, json)),
      onEnd: (response) => {
        this.ending = response;
      },
    });
  }
}

function wasCancelled(): AppError {
  return new AppError('cancelled', 'The response was cancelled.');
}
