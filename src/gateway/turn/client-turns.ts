import type { Dispatcher } from 'undici';
import type { Delivery } from '../../core/configured-routes.ts';
import { AppError, refused } from '../../core/errors.ts';
import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import type { UpstreamTimeouts } from '../../core/provider.ts';
import type { Clock, ListeningTime } from '../../lib/clock.ts';
import { debugLog, type Logger, logOwn } from '../../lib/log/logger.ts';
import type { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import type { SchemaChecker } from '../emulation/json-schema.ts';
import { roughInput } from '../emulation/token-count.ts';
import type { ImageFetcher } from '../images/image-fetcher.ts';
import type { TurnImages } from '../images/turn-images.ts';
import type { ClientKey } from '../keys/client-key.ts';
import type { AccountLimits } from '../leases/account-limits.ts';
import type { LeaseCache } from '../leases/lease-cache.ts';
import type { Reporter } from '../leases/reporter.ts';
import { type Allowance, nothingUsed, type TurnEstimate, type TurnUse } from '../limits/allowance.ts';
import type { Limits } from '../limits/limits.ts';
import type { LimitedKey } from '../limits/slices.ts';
import { costOf } from '../models/catalogue.ts';
import type { KnownRefusals } from '../models/known-refusals.ts';
import type { ModelLists } from '../models/model-lists.ts';
import type { RoutePlan } from '../models/route.ts';
import type { Routes } from '../models/routing.ts';
import { keptTurn, notedTurn, type RefusedTurn, shownName } from '../records/shown-turn.ts';
import type { CalledBy, TurnEnded, TurnRecord, TurnRecords } from '../records/turn-record.ts';
import type { UsageLedger } from '../usage/ledger.ts';
import type { Admission } from './admission.ts';
import type { Affinity } from './affinity.ts';
import { checkRequest } from './candidates.ts';
import type { Conversations, RememberedReasoning } from './conversations.ts';
import type { LoggedContent } from './logged-content.ts';
import type { GatewayMetrics } from './metrics.ts';
import { type TurnResult, TurnRun } from './run-turn.ts';
import { type RunningTurns, TurnSignal } from './running-turns.ts';
import type { TurnOutput } from './turn-output.ts';
import type { Circuits, ProviderReach } from './upstream-health.ts';

/** What a client asks for, whatever carries the answer. */
export interface AskedTurn {
  readonly protocol: Inbound<unknown>['name'];
  readonly decoded: DecodedTurn<unknown>;
  /** About how many bytes the request has: large ones are worked on in turns of the event loop. */
  readonly bytes: number;
  readonly client: ClientKey;
  /** What the client keeps its session together by. */
  readonly affinityKey: string | undefined;
  readonly requestId: string;
  /** The gateway has made the id: nothing of it came from outside. */
  readonly isOwnId?: boolean;
  /** Whether the answer shows usage, so that missing figures are worth counting. */
  readonly wantsUsage: boolean;
  /** How the client wants the answer delivered; undefined: as its route says. */
  readonly delivery?: Delivery | undefined;
  /** Where it may go, if that is known already. */
  readonly plan?: RoutePlan | undefined;
}

/** A turn that may be run; each of its choices is a turn of its own, and shares what is here. */
export interface AdmittedTurn extends AskedTurn {
  /** Those the request names. */
  readonly images: TurnImages | undefined;
  /** What is reserved of its key's limits. */
  readonly allowance?: Allowance | undefined;
}

/** A turn that has begun. */
export interface ClientTurn extends AdmittedTurn {
  /** What is decided about it. */
  readonly record: TurnRecord;
  /** Aborts when the client has left or the gateway stops. */
  readonly signal: TurnSignal;
}

/** What all turns are made with. */
export interface TurnDependencies {
  readonly routes: Routes;
  readonly models: Pick<ModelLists, 'outdated' | 'noteTeam' | 'refused'>;
  readonly refusals: KnownRefusals;
  readonly circuits: Circuits;
  readonly reach: ProviderReach;
  readonly leases: LeaseCache;
  readonly limits: Pick<AccountLimits, 'spentFor' | 'noteHead' | 'judged'>;
  readonly reporter: Reporter;
  readonly affinity: Affinity;
  readonly conversations: Conversations;
  readonly reasoning: RememberedReasoning;
  readonly schemas: SchemaChecker;
  /** Undefined: images come inline only. */
  readonly imageFetcher?: ImageFetcher | undefined;
  readonly dispatcher: Dispatcher;
  readonly userAgent: string;
  readonly timeouts: UpstreamTimeouts;
  readonly clock: Clock;
  readonly listening: ListeningTime;
  /** Checks the time limits of upstream calls. */
  readonly running: RunningTurns;
  readonly records: TurnRecords;
  readonly ledger: Pick<UsageLedger, 'isOn' | 'note' | 'figures'>;
  /** An upstream's refusal may repeat what it was sent. */
  readonly secrets: KnownSecrets;
  /** Absent: nothing of what is said is logged. */
  readonly content?: LoggedContent | undefined;
  readonly logger: Logger;
  /** Answers to one request, at most. */
  readonly maxChoices: number;
}

/** The way of every turn: checked, carried to its end, counted and logged. */
export class ClientTurns {
  readonly #dependencies: TurnDependencies;
  readonly #metrics: Pick<GatewayMetrics, 'turnEnded'>;
  readonly #admission: Pick<Admission, 'check'>;
  readonly #limits: Pick<Limits, 'keyOf' | 'reserve'>;
  /** Since the gateway stops, it refuses new turns. */
  isClosing = false;

  constructor(
    dependencies: TurnDependencies,
    metrics: Pick<GatewayMetrics, 'turnEnded'>,
    admission: Pick<Admission, 'check'>,
    limits: Pick<Limits, 'keyOf' | 'reserve'>,
  ) {
    this.#dependencies = dependencies;
    this.#metrics = metrics;
    this.#admission = admission;
    this.#limits = limits;
  }

  /** Refuses what no turn can be made of, and any turn while there is too much to do. Throws AppError. Returns the images of the request. */
  check({ request, choices = 1, choicesParam = 'n' }: DecodedTurn<unknown>): TurnImages | undefined {
    const { maxChoices, imageFetcher } = this.#dependencies;
    this.#admission.check();
    if (choices > maxChoices) throw tooManyChoices(maxChoices, choicesParam);
    const images = checkRequest(request, imageFetcher);
    if (this.isClosing) throw gatewayStopping();
    return images;
  }

  /**
   * Checks a turn, and reserves what it may take of its key's limits. It has to be run, or its allowance released. Throws AppError, and
   * so may the promise.
   */
  admit(asked: AskedTurn): AdmittedTurn | Promise<AdmittedTurn> {
    const images = this.check(asked.decoded);
    const affinityKey = asked.affinityKey ?? asked.decoded.affinityKey;
    const turn: AdmittedTurn = { ...asked, affinityKey, images };
    const key = this.#limits.keyOf(turn.client);
    return !key || turn.protocol === 'count_tokens' ? turn : this.#reserved(turn, key);
  }

  /** Money is reserved at the price of where the turn goes first. */
  async #reserved(turn: AdmittedTurn, key: LimitedKey): Promise<AdmittedTurn> {
    let { plan } = turn;
    // A plan that fails does so again in the turn, which says why.
    if (key.has('cost_cents'))
      plan ??= await this.#dependencies.routes.plan(turn.decoded.request, turn).catch(() => undefined);
    return { ...turn, plan, allowance: await this.#limits.reserve(key, estimateOf(turn, plan)) };
  }

  /** Begins a turn and its record. `call`: how it came. */
  begin(turn: AdmittedTurn, call: CalledBy, signal = new TurnSignal()): ClientTurn {
    const { requestId, client, protocol, decoded } = turn;
    const { request, isStream, choices } = decoded;
    const asked = { requestId, client, dialect: protocol, model: request.model, isStream, choices, call };
    return { ...turn, record: this.#dependencies.records.begin(asked), signal };
  }

  /** From now on `check` refuses every turn. */
  close(): void {
    this.isClosing = true;
  }

  /** Resolves to the error that ended it, if one did. */
  async run(turn: ClientTurn, output: TurnOutput): Promise<AppError | undefined> {
    const { clock, logger, records, content, ledger } = this.#dependencies;
    const startedAt = clock.monotonic();
    debugLog(logger)?.debug(askedFields(turn), 'a turn begins');
    let result: TurnResult;
    try {
      result = await new TurnRun(this.#dependencies, turn, output).run();
    } catch (error) {
      turn.allowance?.settle(nothingUsed);
      throw error;
    }
    const durationMs = Math.round(clock.monotonic() - startedAt);
    this.#metrics.turnEnded(turn, result, durationMs);
    const { error, firstContentMs, usage, attempt } = result;
    turn.allowance?.settle(useOf(result));
    if (content?.isOf(turn.client)) content.note(turn, result);
    const status = statusOf(error, output);
    const ended: TurnEnded = {
      outcome: error?.code ?? 'success',
      message: error?.message,
      status,
      durationMs,
      firstContentMs,
      finish: attempt?.answer.end?.reason,
      usage,
    };
    records.end(turn.record, ended);
    if (ledger.isOn) this.#note(turn.record, ended, result);
    this.#log(turn, result, durationMs, status);
    return result.error;
  }

  /** Notes a request that was refused before a turn began. */
  refused(refusal: RefusedTurn): void {
    const { clock, ledger, records } = this.#dependencies;
    const { requestId, client, dialect, model = '', isStream, error, status } = refusal;
    const asked = { requestId, client, dialect, model: shownName(model), isStream };
    const ended: TurnEnded = {
      outcome: error.code,
      message: error.message,
      status,
      durationMs: 0,
      firstContentMs: undefined,
      finish: undefined,
      usage: undefined,
    };
    if (!records.refuse(asked, ended) || !ledger.isOn) return;
    const at = clock.now();
    ledger.note(() => notedTurn({ asked, ended, at, attempts: 0 }));
  }

  /** Nothing of the request's body may be held until its batch is made. */
  #note(record: TurnRecord, ended: TurnEnded, { attempts, route, attempt }: TurnResult): void {
    const { clock, ledger } = this.#dependencies;
    const accountId = attempt?.lease.account.id;
    const noted = { asked: record.asked, ended, at: clock.now(), attempts, route, accountId };
    ledger.note(
      () => notedTurn(noted),
      () => keptTurn(record),
    );
  }

  #log(
    { protocol, decoded, client, requestId, isOwnId, record }: ClientTurn,
    result: TurnResult,
    durationMs: number,
    status: number,
  ): void {
    const { logger } = this.#dependencies;
    const { error, route, attempt } = result;
    const line = {
      request_id: requestId,
      trace_id: record.trace?.traceId,
      key_name: client.managed?.name,
      dialect: protocol,
      model: decoded.request.model,
      upstream_model: route?.model,
      provider: route?.provider.name,
      account_id: attempt?.lease.account.id,
      stream: decoded.isStream,
      outcome: error?.code ?? 'success',
      status,
      attempts: result.attempts,
      conversation: result.conversation,
      finish: attempt?.answer.end?.reason,
      upstream_finish: attempt?.answer.end?.upstreamReason,
      duration_ms: durationMs,
      first_content_ms: result.firstContentMs,
      usage: result.usage,
    };
    if (error === undefined || error.code === 'cancelled') {
      const { model, upstream_model = '', upstream_finish = '' } = line;
      const names = [model, upstream_model, upstream_finish];
      logOwn(logger, line, 'turn', isOwnId ? names : [requestId, ...names]);
    } else logger.warn({ ...line, err: error }, 'turn');
  }
}

function useOf({ error, usage, route, attempts }: TurnResult): TurnUse {
  const dollars = costOf(usage, route?.price);
  return { usage, costCents: dollars && dollars * 100, attempts, isGood: error === undefined };
}

/** Tokens of an answer whose request does not limit it. */
const usualOutput = 4_096;

/** Before the turn: its text at four characters a token, and as much output as it allows. */
function estimateOf({ decoded, requestId, protocol }: AskedTurn, plan: RoutePlan | undefined): TurnEstimate {
  const { request, relayed, choices = 1 } = decoded;
  const answers = relayed?.choices ?? choices;
  const inputTokens = roughInput(request, relayed);
  const outputTokens = relayed?.maxOutputTokens ?? request.limits.maxOutputTokens ?? usualOutput;
  const dollars = costOf({ inputTokens, outputTokens }, plan?.candidates[0]?.price);
  return {
    requestId,
    dialect: protocol,
    choices,
    tokens: answers * (inputTokens + outputTokens),
    costCents: dollars && answers * dollars * 100,
  };
}

export function gatewayStopping(): AppError {
  const message = 'The gateway is stopping; try again in a moment.';
  return new AppError('shutting_down', message, { retryAfterMs: 5_000 });
}

/** What the client got, or would have. */
function statusOf(error: AppError | undefined, { status }: TurnOutput): number {
  return error?.code === 'cancelled' ? error.status : status;
}

/** How much was asked for, and nothing of what was said. */
function askedFields({ requestId, protocol, client, decoded, bytes }: ClientTurn) {
  const { model, messages, tools, reasoning } = decoded.request;
  return {
    request_id: requestId,
    key_name: client.managed?.name,
    dialect: protocol,
    model,
    effort: reasoning.effort,
    stream: decoded.isStream,
    choices: decoded.choices,
    // A body that is passed on as it came is not taken apart.
    ...(messages.length > 0 && { messages: messages.length, tools: tools.length }),
    bytes,
  };
}

function tooManyChoices(most: number, param: string): AppError {
  return refused(
    param,
    most === 1
      ? `this gateway gives one answer to a request: send ${param}: 1, leave it out, or ask its operator to set MAX_CHOICES`
      : `this gateway gives at most ${most} answers to a request: send a smaller number`,
  );
}
