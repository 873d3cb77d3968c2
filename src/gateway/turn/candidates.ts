import { type Handling, handlingOf } from '../../core/capabilities.ts';
import type { Delivery } from '../../core/configured-routes.ts';
import { AppError, refused } from '../../core/errors.ts';
import type { RelayedRequest } from '../../core/protocol.ts';
import { capabilitiesOf, relayingOutbound } from '../../core/provider.ts';
import type { AskedMessage, AskedRequest } from '../../core/turn.ts';
import type { HeldBody } from '../../lib/http/body-budget.ts';
import { isJsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { ownTurn } from '../../lib/process/own-turn.ts';
import { onceKnown } from '../../lib/tasks.ts';
import { checkSchema } from '../emulation/json-schema.ts';
import type { ImageFetcher } from '../images/image-fetcher.ts';
import { type TurnImages, turnImagesOf } from '../images/turn-images.ts';
import type { Route, RoutePlan } from '../models/route.ts';
import type { CandidateNote } from '../records/turn-record.ts';
import type { ClientTurn, TurnDependencies } from './client-turns.ts';
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
  readonly circuits: Pick<Circuits, 'openUntil' | 'notTried'>;
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

/**
 * Whether it may take a request that is too long for another one: if it is not known to hold no more and, of the same model elsewhere,
 * if it is known to hold more.
 */
function mayHoldMore(route: Route, short: Route): boolean {
  const isSame = route.model === short.model;
  const window = route.contextWindow ?? (isSame ? 0 : Number.POSITIVE_INFINITY);
  return window > (short.contextWindow ?? (isSame ? Number.POSITIVE_INFINITY : 0));
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
  /** The last that its circuit has let through. */
  #letThrough: Route | undefined;
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
    if (note.route === this.#letThrough) this.#dependencies.circuits.notTried(note.route);
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
  mustHoldMoreThan(short: Route, tried: readonly { readonly route: Route; isLeft: boolean }[]): void {
    for (const path of tried) path.isLeft ||= !mayHoldMore(path.route, short);
    this.#untried = this.#untried?.filter((route) => mayHoldMore(route, short));
    this.#deferred = this.#deferred.filter((route) => mayHoldMore(route, short));
  }

  #nextRoute(untried: Route[]): Route | undefined {
    let next = untried.shift();
    while (next && !this.isLast) {
      const until = this.#dependencies.circuits.openUntil(next);
      if (until === undefined) {
        this.#letThrough = next;
        break;
      }
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

  #formFor({ provider, model }: Route): Form | Promise<Form | AppError> {
    const { relayed } = this.#given;
    if (!relayed) return this.#given;
    const relay = relayingOutbound(provider, relayed)?.relay;
    if (!relay || relay.carries?.(relayed, model) === false) return this.#translate();
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
