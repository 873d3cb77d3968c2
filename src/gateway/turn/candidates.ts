import { type Handling, handlingOf } from '../../core/capabilities.ts';
import type { Delivery } from '../../core/configured-routes.ts';
import { AppError, refused, type SendAgain } from '../../core/errors.ts';
import type { CollectedTurn, RelayedRequest } from '../../core/protocol.ts';
import { capabilitiesOf, relayingOutbound } from '../../core/provider.ts';
import type { AskedMessage, AskedRequest, Usage } from '../../core/turn.ts';
import type { HeldBody } from '../../lib/http/body-budget.ts';
import { isJsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { ownTurn } from '../../lib/process/own-turn.ts';
import { onceKnown } from '../../lib/tasks.ts';
import { PoolError } from '../../pool-api/errors.ts';
import { type AnswerCheck, checksOf, type Fault, sentBack } from '../emulation/checked-answer.ts';
import { checkSchema } from '../emulation/json-schema.ts';
import type { ImageFetcher } from '../images/image-fetcher.ts';
import { type TurnImages, turnImagesOf } from '../images/turn-images.ts';
import type { OutputCap } from '../models/output-limits.ts';
import type { Route, RoutePlan } from '../models/route.ts';
import type { CandidateNote } from '../records/turn-record.ts';
import type { Session } from './affinity.ts';
import { isAboutOthers } from './app-errors.ts';
import type { ClientTurn, TurnDependencies } from './client-turns.ts';
import type { Conversation } from './conversations.ts';
import {
  type BrokenAnswer,
  BufferedOutput,
  ContinuedOutput,
  HeldOutput,
  prefilled,
  type TurnOutput,
} from './turn-output.ts';
import type { Circuits } from './upstream-health.ts';

/** What an upstream is asked for: the client's own words where it speaks their dialect, else the decoded request. */
interface Form {
  readonly request: AskedRequest;
  readonly images: TurnImages | undefined;
  /** As the client wrote it; `request` is empty then. */
  readonly relayed: RelayedRequest | undefined;
}

/** Where a turn may go, in which form, and what becomes of its fields there. */
export interface Candidate extends Form {
  readonly route: Route;
  /** What becomes of the request's fields there. */
  readonly handling: Handling;
  /** The upstream is asked to cache the prompt. */
  readonly cachesPrompts: boolean;
  /** Of the turn's record. */
  readonly note: CandidateNote;
}

export type CandidateDependencies = Pick<TurnDependencies, 'routes' | 'imageFetcher'> & {
  readonly circuits: Pick<Circuits, 'openUntil'>;
};

const usualFirstContentMs = 10_000;
/** Where only another account of the same candidate may do better. */
const usualFirstWordMs = 10_000;

/** Refuses what no upstream can be asked for. Throws AppError. Returns the images of the request. */
export function checkRequest(
  request: AskedRequest,
  imageFetcher: ImageFetcher | undefined,
): TurnImages | undefined {
  const { responseFormat: format } = request;
  if (format.type === 'json-schema') checkSchema(format.schema, format.param);
  const images = turnImagesOf(request, imageFetcher);
  images?.check(request);
  return images;
}

/** An answer that says nothing yet is left out. */
function isBegun(message: AskedMessage | undefined): boolean {
  return (
    message?.role === 'assistant' &&
    message.parts.some((part) => part.type === 'text' && part.text.trim() !== '')
  );
}

function endsWithAnswer({ body }: RelayedRequest): boolean {
  const messages = parseJsonObject(body)?.['messages'];
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
  return isJsonObject(last) && last['role'] === 'assistant';
}

/** It is not known to hold no more than another one, for which a request is too long. */
function mayHoldMore(route: Route, { model, contextWindow = 0 }: Route): boolean {
  return route.model !== model && (route.contextWindow ?? Number.POSITIVE_INFINITY) > contextWindow;
}

/** Where one turn may go, in order. A body that was not decoded is decoded when a candidate needs that. */
export class Candidates {
  readonly #dependencies: CandidateDependencies;
  readonly #turn: ClientTurn;
  /** As the turn came. */
  readonly #given: Form;
  #heldImages: HeldBody | undefined;
  readonly #tried: Route[] = [];
  #plan: RoutePlan | undefined;
  /** Undefined until the turn is planned. */
  #untried: Route[] | undefined;
  /** Those whose circuit is open: tried where no other answers. */
  #deferred: Route[] = [];
  #translated: Form | AppError | undefined;
  /** Why the first of those cannot carry the request that were passed over; undefined: none was. */
  refusal: AppError | undefined;

  constructor(dependencies: CandidateDependencies, turn: ClientTurn) {
    const { request, relayed } = turn.decoded;
    this.#dependencies = dependencies;
    this.#turn = turn;
    this.#given = { request, relayed, images: turn.images };
    this.#heldImages = turn.images?.hold(turn.client.id);
  }

  /** The next that can take the request. `plansAgain`: by now the pool may have accounts of other providers. */
  next(plansAgain = false): Candidate | undefined | Promise<Candidate | undefined> {
    const { routes } = this.#dependencies;
    const { request } = this.#given;
    this.#plan ??= this.#turn.plan;
    if (!this.#plan) {
      return routes.plan(request, this.#turn).then((plan) => {
        this.#plan = plan;
        return this.next(plansAgain);
      });
    }
    this.#untried ??= [...this.#plan.candidates];
    const untried = this.#untried;
    if (!plansAgain || untried.length > 0) return this.#nextOf(untried, plansAgain);
    return routes.after(this.#tried, request, this.#turn).then((others) => {
      untried.push(...others);
      return this.#nextOf(untried, plansAgain);
    });
  }

  #nextOf(untried: Route[], plansAgain: boolean): Candidate | undefined | Promise<Candidate | undefined> {
    const route = this.#nextRoute(untried);
    if (!route) return undefined;
    const note = this.#turn.record.candidate(route);
    return onceKnown(
      this.#formFor(route),
      (form) => this.#carried(route, form, note) ?? this.next(plansAgain),
    );
  }

  /** Undefined where it cannot carry the request, which is noted. */
  #carried(route: Route, form: Form | AppError, note: CandidateNote): Candidate | undefined {
    if (form instanceof AppError) return this.#refuse(form, note);
    const { provider } = route;
    const handling = handlingOf(
      form.request,
      capabilitiesOf(provider, route.model),
      provider.outbound?.leastOutputTokens,
    );
    const refusal = handling.refusal ?? this.#refusedPrefill(route, form);
    if (refusal) return this.#refuse(refusal, note);
    const { request, images, relayed } = form;
    return {
      request,
      images,
      relayed,
      route,
      handling,
      note,
      cachesPrompts: this.#plan?.promptCache !== 'off',
    };
  }

  #refuse(refusal: AppError, note: CandidateNote): undefined {
    this.#turn.record.skipped(note, { kind: 'field', message: refusal.message });
    this.refusal ??= refusal;
  }

  /** Of a body that is passed on as it is the only upstream judges itself. */
  #refusedPrefill({ takesPrefill, model }: Route, { request, relayed }: Form): AppError | undefined {
    if (takesPrefill !== false || (relayed && !this.areSeveral)) return undefined;
    const isPrefilled = relayed ? endsWithAnswer(relayed) : isBegun(request.messages.at(-1));
    if (!isPrefilled) return undefined;
    const reason = `ends with the beginning of an answer, which ${model} does not go on with: the last message must be one of the user`;
    return refused(request.messagesParam ?? 'messages', reason);
  }

  /** No other is left, as far as is known. */
  get isLast(): boolean {
    return this.#deferred.length === 0 && (this.#untried === undefined || this.#untried.length === 0);
  }

  get delivery(): Delivery {
    return this.#turn.delivery ?? this.#plan?.delivery ?? 'stream';
  }

  /** What its upstreams do counts for their circuits. */
  get areSeveral(): boolean {
    return this.#plan !== undefined && this.#plan.candidates.length > 1;
  }

  /** Models that go on with the beginning of an answer are next; false where there are none. */
  preferPrefill(): boolean {
    this.#untried?.sort(
      (one, other) => Number(other.takesPrefill === true) - Number(one.takesPrefill === true),
    );
    return this.#untried?.[0]?.takesPrefill === true;
  }

  /** How long the candidate may take until its first content before another one is tried. */
  firstContentMsOf({ route }: Candidate): number | undefined {
    if (this.isLast) return undefined;
    return route.firstContentTimeoutMs ?? this.#plan?.firstContentTimeoutMs ?? usualFirstContentMs;
  }

  /** The request is too long for this one: the others, those `tried` too, count only where they may hold more. */
  mustHoldMoreThan(short: Route, tried: readonly Path[]): void {
    for (const path of tried) path.isLeft ||= !mayHoldMore(path.route, short);
    this.#untried = this.#untried?.filter((route) => mayHoldMore(route, short));
    this.#deferred = this.#deferred.filter((route) => mayHoldMore(route, short));
  }

  #nextRoute(untried: Route[]): Route | undefined {
    let next = untried.shift();
    while (next && !this.isLast) {
      const until = this.#dependencies.circuits.openUntil(next);
      if (until === undefined) break;
      const { record } = this.#turn;
      record.skipped(record.candidate(next), { kind: 'circuit', until });
      this.#deferred.push(next);
      next = untried.shift();
    }
    next ??= this.#deferred.shift();
    if (next) this.#tried.push(next);
    return next;
  }

  /** The turn was answered there. */
  answered({ route }: Candidate): void {
    if (this.#plan) this.#dependencies.routes.answered(this.#plan, route);
  }

  /** The turn has ended. */
  release(): void {
    this.#heldImages?.release();
  }

  /** How long its upstream may say nothing at all before another account is tried. */
  firstWordMsOf({ route, relayed }: Candidate): number | undefined {
    const { provider } = route;
    if (provider.caller || (relayed && !relayed.isStream)) return undefined;
    return this.#dependencies.routes.openAccounts(provider) > 1 ? usualFirstWordMs : undefined;
  }

  #formFor({ provider }: Route): Form | Promise<Form | AppError> {
    const { relayed } = this.#given;
    if (!relayed) return this.#given;
    if (!relayingOutbound(provider, relayed)) return this.#translate();
    return this.#mustBeSeen(relayed)
      ? this.#translate().then((form) => (form instanceof AppError ? this.#given : form))
      : this.#given;
  }

  /** What is passed on as it is cannot be continued elsewhere, and of a whole answer nothing is seen before its end. */
  #mustBeSeen({ isStream }: RelayedRequest): boolean {
    if (isStream) return this.delivery === 'continue';
    const { candidates = [], firstContentTimeoutMs } = this.#plan ?? {};
    const isTimed = [firstContentTimeoutMs, ...candidates.map((route) => route.firstContentTimeoutMs)];
    return this.areSeveral && (this.delivery === 'whole' || isTimed.some((limit) => limit !== undefined));
  }

  async #translate(): Promise<Form | AppError> {
    if (this.#translated) return this.#translated;
    const { decoded, bytes, client } = this.#turn;
    const isLarge = ownTurn(bytes);
    if (isLarge) await isLarge;
    try {
      // Each choice would be a turn of its own.
      if (decoded.relayed && decoded.relayed.choices > 1)
        throw refused(decoded.choicesParam ?? 'n', 'this model gives one answer to a request');
      const { request } = decoded.translated?.() ?? decoded;
      const images = checkRequest(request, this.#dependencies.imageFetcher);
      this.#heldImages = images?.hold(client.id);
      this.#translated = { request, images, relayed: undefined };
    } catch (error) {
      this.#translated = AppError.from(error);
    }
    return this.#translated;
  }
}

/** How a turn reaches an upstream, and what its attempts there are made with. */
export interface Path extends Candidate {
  /** The same with the request as it came. */
  readonly candidate: Candidate;
  /** With the upstream's model name and the instructions of the checks. */
  readonly request: AskedRequest;
  readonly conversation: Conversation;
  readonly session: Session | undefined;
  readonly output: TurnOutput;
  readonly checks: readonly AnswerCheck[];
  /** What of the request is not checked, as paths. */
  readonly unchecked: readonly string[];
  /** Milliseconds until its first content; undefined: only the usual limits apply. */
  firstContentMs: number | undefined;
  /** The same until any answer of the upstream, where a turn is one exchange. */
  firstWordMs: number | undefined;
  /** The account cannot read what an upstream signed or encrypted of its reasoning. */
  leavesProofsOut: boolean;
  /** The upstream wants reasoning with every answer of the history. */
  fillsReasoning: boolean;
  /** The longest answer that the upstream is asked for, where that is less than the request would ask for. */
  outputCap: OutputCap | undefined;
  /** What it said when it refused one of this turn. */
  shortened: Extract<SendAgain, { how: 'shorter' }> | undefined;
  /** An account of it has refused the turn: only those take it again that were limited before. */
  isRefused: boolean;
  /** No account of it is tried any more. */
  isLeft: boolean;
  /** Why none of its accounts was lent. */
  shortage: Error | undefined;
}

/** An answer that was not as asked, and is sent back to the model. */
export interface Rejected {
  readonly answer: CollectedTurn;
  readonly fault: Fault;
  readonly usage: Usage | undefined;
}

/** What the turn has brought before. */
export interface SoFar {
  readonly rejected: Rejected | undefined;
  readonly broken: BrokenAnswer | undefined;
}

/** A promise where a conversation is looked for: its upstream remembers them. */
export function pathTo(
  { conversations, affinity, schemas, outputLimits }: TurnDependencies,
  { client, affinityKey, bytes }: ClientTurn,
  candidate: Candidate,
  soFar: SoFar,
  output: TurnOutput,
  delivery: Delivery,
): Path | Promise<Path> {
  const { route, handling } = candidate;
  const { emulated } = handling;
  const { broken } = soFar;
  const isPrefilled = broken !== undefined && broken.text !== '' && route.takesPrefill === true;
  const whole = withRejected(candidate, soFar);
  const asked = isPrefilled ? prefilled(whole, broken) : whole;
  const checks = emulated.size === 0 ? [] : checksOf(asked, emulated, schemas, client.id);
  const request = checks.reduce((instructed, check) => check.instruct(instructed), asked);
  const { name: provider, outbound } = route.provider;
  const found = outbound?.hasMemory
    ? conversations.find(client.id, provider, request, bytes)
    : conversations.unremembered(client.id, request);
  return onceKnown(found, (conversation) => ({
    ...candidate,
    candidate,
    request,
    conversation,
    session: affinityKey === undefined ? undefined : affinity.sessionOf(client.id, provider, affinityKey),
    checks,
    unchecked: checks.length === 0 ? [] : checks.flatMap((check) => check.unchecked ?? []),
    output: broken
      ? new ContinuedOutput(output, broken, isPrefilled)
      : outputFor(output, checks.length > 0, delivery),
    firstContentMs: undefined,
    firstWordMs: undefined,
    leavesProofsOut: false,
    fillsReasoning: false,
    outputCap: candidate.relayed ? undefined : outputLimits.below(outputTokensOf(request, candidate), route),
    shortened: undefined,
    isRefused: false,
    isLeft: false,
    shortage: undefined,
  }));
}

/** How long an answer the upstream is asked for, where nothing is known of its limits. */
export function outputTokensOf(
  request: AskedRequest,
  { route, handling }: Pick<Path, 'route' | 'handling'>,
): number | undefined {
  const { outputTokensOf: sent } = route.provider.outbound ?? {};
  if (sent) return sent(request);
  return handling.native.has('maxTokens') ? request.limits.maxOutputTokens : undefined;
}

/** After how long the pool may have an account for it. */
export function waitAt({ shortage }: Path): number {
  const { retryAfterMs = Number.POSITIVE_INFINITY } = shortage instanceof PoolError ? shortage : {};
  return isAboutOthers(shortage) ? retryAfterMs : Number.POSITIVE_INFINITY;
}

/** The request with the upstream's model name, and with the answer that was not as asked. */
function withRejected({ request, relayed, route }: Candidate, { rejected }: SoFar): AskedRequest {
  const asked = { ...request, model: route.model };
  if (!rejected || relayed) return asked;
  return { ...asked, messages: [...request.messages, ...sentBack(rejected.answer, rejected.fault)] };
}

function outputFor(output: TurnOutput, isChecked: boolean, delivery: Delivery): TurnOutput {
  if (isChecked) return new BufferedOutput(output);
  return delivery === 'whole' && !output.isBuffered ? new HeldOutput(output) : output;
}
