import { randomUUID } from 'node:crypto';
import type { Handling } from '../../core/capabilities.ts';
import type { AnswerIdentity, Inbound } from '../../core/protocol.ts';
import type { TuningName } from '../../core/turn.ts';
import type { Route } from '../models/route.ts';
import { modelOf, routeSummary } from '../records/shown-turn.ts';
import type { AdmittedTurn, ClientTurn } from '../turn/client-turns.ts';

/** What gives an answer, as far as the head shows it. */
export interface Answering {
  readonly route: Route;
  /** Of the request's fields, at this route's upstream. */
  readonly handling: Pick<Handling, 'ignored' | 'taken'>;
  /** What else of the request has no effect there, beside what the decoder ignored. */
  readonly ignored?: readonly string[];
  /** The upstream speaks the client's dialect, and judges every field. */
  readonly isRelayed?: boolean;
  /** Where a person can watch the answer being made. */
  readonly runUrl?: string | undefined;
}

const parameterNames: Record<TuningName, string> = {
  temperature: 'temperature',
  topP: 'top_p',
  seed: 'seed',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  reasoningEffort: 'reasoning_effort',
};

/** A turn, once it has begun with its record. */
type HeadTurn = Pick<AdmittedTurn, 'decoded' | 'requestId' | 'allowance'> &
  Partial<Pick<ClientTurn, 'record'>>;

type AnsweringInbound = Pick<Inbound<unknown>, 'name' | 'idPrefix' | 'requestIdHeader' | 'parameterNames'>;

const longestUrl = 2_000;
const routeHeader = 'x-warp2api-route';
const modelHeader = 'x-warp2api-model';

/**
 * What is said of one answer before its first byte, by what gives it: nothing before an account is lent, several where there are
 * several choices. Its id stays the same whichever account gives it.
 */
export class AnswerHead {
  readonly #inbound: AnsweringInbound;
  readonly #turn: HeadTurn;
  readonly #now: () => number;
  readonly #startedAt: number;
  #id: string | undefined;

  constructor(inbound: AnsweringInbound, turn: HeadTurn, now: () => number) {
    this.#inbound = inbound;
    this.#turn = turn;
    this.#now = now;
    this.#startedAt = turn.record?.at ?? now();
  }

  identity(answering: readonly Answering[]): AnswerIdentity {
    this.#id ??= newAnswerId(this.#inbound.idPrefix);
    const fingerprint = answering.find(({ route }) => route.provider.systemFingerprint)?.route.provider
      .systemFingerprint;
    return {
      id: this.#id,
      created: Math.floor(this.#startedAt / 1000),
      now: this.#now,
      model: this.#turn.decoded.request.model,
      answeredBy: modelsOf(answering),
      ...(fingerprint === undefined ? {} : { systemFingerprint: fingerprint }),
    };
  }

  /** The caller may add others to them. */
  headers(answering: readonly Answering[]): Record<string, string> {
    const { requestIdHeader, name } = this.#inbound;
    const { requestId, record, allowance } = this.#turn;
    const headers: Record<string, string> = { 'x-request-id': requestId };
    const answeredBy = modelsOf(answering);
    if (answeredBy !== undefined) headers[modelHeader] = answeredBy;
    if (requestIdHeader !== undefined) headers[requestIdHeader] = requestId;
    if (record) headers[routeHeader] = routeSummary(record);
    if (allowance) Object.assign(headers, allowance.headers(name, this.#now()));
    const runUrl = headerUrl(answering.find((one) => one.runUrl !== undefined)?.runUrl);
    if (runUrl !== undefined) headers['x-warp2api-run-url'] = runUrl;
    const ignored = this.#ignored(answering);
    if (ignored.length > 0) headers['x-warp2api-ignored'] = headerList(ignored);
    return headers;
  }

  #ignored(answering: readonly Answering[]): readonly string[] {
    const names: string[] = [];
    for (const { route, handling } of answering) {
      for (const name of handling.ignored) {
        if (name !== 'reasoningEffort' || !route.isEffortHeard)
          names.push(this.#inbound.parameterNames?.[name] ?? parameterNames[name]);
      }
    }
    const isTaken = (name: string) =>
      answering.length > 0 && answering.every(({ handling }) => handling.taken.includes(name));
    const { decoded } = this.#turn;
    const isTranslated = answering.some(({ isRelayed }) => isRelayed === false);
    const { ignored } = isTranslated ? (decoded.translated?.() ?? decoded) : decoded;
    for (const name of ignored) if (!isTaken(name)) names.push(name);
    for (const { ignored } of answering) if (ignored) names.push(...ignored);
    return names.length > 1 ? [...new Set(names)] : names;
  }
}

/** `warp/claude-4-sonnet`: what a client can send to get that model again. Undefined without a route. */
export function modelsOf(answering: readonly Pick<Answering, 'route'>[]): string | undefined {
  const [first] = answering;
  if (!first || answering.length === 1) return first && modelOf(first.route);
  return [...new Set(answering.map(({ route }) => modelOf(route)))].join(', ');
}

export function answeredHeaders(answeredBy: string | undefined): Readonly<Record<string, string>> {
  return answeredBy === undefined ? {} : { [modelHeader]: answeredBy };
}

function newAnswerId(prefix: string): string {
  return prefix + randomUUID().replaceAll('-', '');
}

/** A link from the vendor, if it is one that a header may hold. No link to a run names a user or password. */
function headerUrl(text: string | undefined): string | undefined {
  if (text === undefined || !URL.canParse(text)) return undefined;
  const { protocol, username, password, href } = new URL(text);
  const isLink = /^https?:$/.test(protocol) && username + password === '';
  return isLink && href.length <= longestUrl && /^[!-~]+$/.test(href) ? href : undefined;
}

/** Field names come from the client: only what a header may hold gets in. */
function headerList(names: readonly string[]): string {
  return names
    .slice(0, 50)
    .map((name) => name.slice(0, 64).replace(/[^A-Za-z0-9_.-]/g, '_'))
    .join(', ');
}
