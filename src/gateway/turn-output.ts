import type { ServerResponse } from 'node:http';
import type { AppError, ErrorCode } from '../core/errors.ts';
import type { Inbound, StreamEncoder } from '../core/protocol.ts';
import type { TurnEvent, Usage } from '../core/turn.ts';
import { type AnswerHead, answeredHeaders, type HeadFor, modelsOf } from './answer-head.ts';
import type { TurnOutput } from './attempt.ts';
import { collect, emptyCollection, wholeOf } from './collect-turn.ts';
import type { Route } from './routes.ts';

export interface StreamOutput extends TurnOutput {
  /** To be called now and then: keeps a stream alive that has nothing to say yet. */
  tick(now: number): void;
}

/** Until there is content the status is open; after this long the stream begins all the same. */
export const beginAfterMs = 15_000;
export const keepAliveEveryMs = 15_000;

export const streamHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
} as const;

/** Answers as a stream: status and headers wait for the first content, one write for each batch of events. */
export function createStreamOutput<Options>(
  response: ServerResponse,
  inbound: Inbound<Options>,
  options: Options,
  headFor: HeadFor,
  now: () => number,
): StreamOutput {
  let encoder: StreamEncoder | undefined;
  let route: Route | undefined;
  let shownModel: string | undefined;
  let usage: Usage | undefined;
  let lastWriteAt = now();

  function begin(): StreamEncoder {
    if (encoder) return encoder;
    const { identity, headers } = headOf(headFor, route);
    shownModel = identity.answeredBy;
    response.writeHead(200, { ...headers, ...streamHeaders });
    encoder = inbound.streamEncoder(identity, options);
    return encoder;
  }

  const output: StreamOutput = {
    isBuffered: false,
    resume: undefined,
    onRoute(chosen) {
      route = chosen;
    },
    write(events) {
      const last = events[events.length - 1];
      lastWriteAt = now();
      if (last?.type === 'error' && !encoder) {
        answerError(response, inbound, last.error, headOf(headFor, route).headers);
        return true;
      }
      for (const event of events) if (event.type === 'usage') usage = event.usage;
      if (last?.type === 'finish' || last?.type === 'error') {
        const open = begin();
        const notes = {
          ...lateModel(route ? [route] : [], shownModel),
          ...(usage ? usageHeaders(usage) : {}),
        };
        response.end(encodeEnd(open, events, last, notes));
        return true;
      }
      const text = begin().encode(events);
      return text === '' || response.write(text);
    },
    tick(time) {
      if (response.writableEnded || response.destroyed || response.writableNeedDrain) return;
      if (time - lastWriteAt < (encoder ? keepAliveEveryMs : beginAfterMs)) return;
      lastWriteAt = time;
      response.write(begin().keepAlive);
    },
  };
  response.on('drain', () => output.resume?.());
  return output;
}

export function headOf(headFor: HeadFor, route: Route | undefined): AnswerHead {
  return route === undefined ? headFor() : headFor(route);
}

/** The last batch, with headers of a whole answer that were not known at its beginning as comments before the end. */
function encodeEnd(
  encoder: StreamEncoder,
  events: readonly TurnEvent[],
  last: TurnEvent,
  headers: Readonly<Record<string, string>>,
): string {
  const notes = notesOf(headers);
  if (notes === '') return encoder.encode(events);
  return encoder.encode(events.slice(0, -1)) + notes + encoder.encode([last]);
}

/** A stream that had to begin without content may be answered by another model than its headers say. */
export function lateModel(
  routes: readonly Route[],
  shown: string | undefined,
): Readonly<Record<string, string>> {
  const model = modelsOf(routes);
  return model === shown ? {} : answeredHeaders(model);
}

export function notesOf(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers)
    .map(([name, value]) => `: ${name} ${value}\n\n`)
    .join('');
}

/** What clients' own usage objects have no field for. */
export function usageHeaders({ isEstimated, credits, costCents }: Usage): Record<string, string> {
  return {
    ...(isEstimated ? { 'x-warp2api-usage': 'estimated' } : {}),
    ...(credits === undefined ? {} : { 'x-warp2api-credits': String(credits) }),
    ...(costCents === undefined ? {} : { 'x-warp2api-cost-cents': String(costCents) }),
  };
}

/** Answers whole: the same events, collected. */
export function createWholeOutput<Options>(
  response: ServerResponse,
  inbound: Inbound<Options>,
  options: Options,
  headFor: HeadFor,
): TurnOutput {
  let route: Route | undefined;
  let collected = emptyCollection();

  return {
    isBuffered: true,
    resume: undefined,
    onRoute(chosen) {
      route = chosen;
      collected = emptyCollection();
    },
    write(events) {
      for (const event of events) {
        if (event.type === 'error') {
          answerError(response, inbound, event.error, headOf(headFor, route).headers);
          return true;
        }
        collect(collected, event);
      }
      const answer = wholeOf(collected);
      if (answer === undefined) return true;
      const { identity, headers } = headOf(headFor, route);
      const body = Buffer.from(inbound.encodeAnswer(identity, answer, options));
      response.writeHead(200, {
        ...headers,
        ...(collected.usage ? usageHeaders(collected.usage) : {}),
        'content-type': 'application/json; charset=utf-8',
        'content-length': body.length,
      });
      response.end(body);
      return true;
    },
  };
}

/** An error before the first byte: status, headers and the dialect's own body. */
export function answerError<Options>(
  response: ServerResponse,
  inbound: Pick<Inbound<Options>, 'encodeError' | 'errorStatus'>,
  error: AppError,
  headers: Readonly<Record<string, string>>,
): void {
  if (response.headersSent || response.destroyed) return;
  const body = Buffer.from(inbound.encodeError(error, headers['x-request-id'] ?? ''));
  response.writeHead(inbound.errorStatus(error), {
    ...headers,
    ...errorHeaders(error),
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
  });
  response.end(body);
}

export function errorHeaders(error: AppError): Record<string, string> {
  const { retryAfterSeconds } = error;
  return {
    ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
    ...(isLasting(error) ? { 'x-should-retry': 'false' } : {}),
  };
}

const lasting: ReadonlySet<ErrorCode> = new Set([
  'invalid_key',
  'forbidden',
  'host_not_allowed',
  'origin_not_allowed',
]);

/** Clients repeat any 429 by themselves, and some a 401 for minutes; neither changes in a second. */
function isLasting({ code, openaiCode }: AppError): boolean {
  return openaiCode === 'insufficient_quota' || lasting.has(code);
}
