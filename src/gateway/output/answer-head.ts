import { randomUUID } from 'node:crypto';
import type { Handling } from '../../core/capabilities.ts';
import type { AnswerIdentity, DecodedTurn, Inbound } from '../../core/protocol.ts';
import type { TuningName } from '../../core/turn.ts';
import type { Allowance } from '../limits/allowance.ts';
import type { Route } from '../models/route.ts';
import { modelOf, routeSummary } from '../records/route-summary.ts';
import type { TurnRecord } from '../records/turn-record.ts';

/** What is said of an answer before its first byte. */
export interface AnswerHead {
  readonly identity: AnswerIdentity;
  readonly headers: Readonly<Record<string, string>>;
}

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

/** The head of an answer given by these: none before an account is lent, several where there are several choices. */
export type HeadFor = (answering: readonly Answering[]) => AnswerHead;

const parameterNames: Record<TuningName, string> = {
  temperature: 'temperature',
  topP: 'top_p',
  seed: 'seed',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  reasoningEffort: 'reasoning_effort',
};

export interface AnswerTimes {
  readonly startedAt: number;
  now(): number;
}

const longestUrl = 2_000;
const routeHeader = 'x-warp2api-route';
const modelHeader = 'x-warp2api-model';

/** The heads of one answer: its id stays the same whichever account gives it. */
export function answerHeads(
  inbound: Pick<Inbound<unknown>, 'name' | 'idPrefix' | 'requestIdHeader' | 'parameterNames'>,
  decoded: DecodedTurn<unknown>,
  requestId: string,
  { startedAt, now }: AnswerTimes,
  record?: TurnRecord,
  allowance?: Allowance,
): HeadFor {
  const id = newAnswerId(inbound.idPrefix);
  return (answering) => {
    const routes = answering.map(({ route }) => route);
    const answeredBy = modelsOf(routes);
    const fingerprint = routes.find(({ provider }) => provider.systemFingerprint)?.provider.systemFingerprint;
    const headers: Record<string, string> = { 'x-request-id': requestId, ...answeredHeaders(answeredBy) };
    if (inbound.requestIdHeader !== undefined) headers[inbound.requestIdHeader] = requestId;
    if (record) headers[routeHeader] = routeSummary(record);
    if (allowance) Object.assign(headers, allowance.headers(inbound.name, now()));
    const runUrl = headerUrl(answering.find((one) => one.runUrl !== undefined)?.runUrl);
    if (runUrl !== undefined) headers['x-warp2api-run-url'] = runUrl;
    const ignored = ignoredIn(answering);
    if (ignored.length > 0) headers['x-warp2api-ignored'] = headerList(ignored);
    return {
      identity: {
        id,
        created: Math.floor(startedAt / 1000),
        now,
        model: decoded.request.model,
        answeredBy,
        ...(fingerprint === undefined ? {} : { systemFingerprint: fingerprint }),
      },
      headers,
    };
  };

  function ignoredIn(answering: readonly Answering[]): readonly string[] {
    const names: string[] = [];
    for (const { route, handling } of answering) {
      for (const name of handling.ignored) {
        if (name !== 'reasoningEffort' || !route.isEffortHeard)
          names.push(inbound.parameterNames?.[name] ?? parameterNames[name]);
      }
    }
    const isTaken = (name: string) =>
      answering.length > 0 && answering.every(({ handling }) => handling.taken.includes(name));
    const isTranslated = answering.some(({ isRelayed }) => isRelayed === false);
    const { ignored } = isTranslated ? (decoded.translated?.() ?? decoded) : decoded;
    names.push(...ignored.filter((name) => !isTaken(name)));
    for (const { ignored = [] } of answering) names.push(...ignored);
    return names.length > 1 ? [...new Set(names)] : names;
  }
}

/** `warp/claude-4-sonnet`: what a client can send to get that model again. Undefined without a route. */
export function modelsOf(routes: readonly Route[]): string | undefined {
  const [first, ...others] = routes;
  if (!first) return undefined;
  return others.length === 0 ? modelOf(first) : [...new Set(routes.map(modelOf))].join(', ');
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
