import type { ServerResponse } from 'node:http';
import { AppError } from '../core/errors.ts';
import type { ChoicesEncoders, Inbound, StreamEncoder } from '../core/protocol.ts';
import type { TurnEvent, Usage } from '../core/turn.ts';
import type { HeadFor } from './answer-head.ts';
import type { TurnOutput } from './attempt.ts';
import { collect, emptyCollection, wholeOf } from './collect-turn.ts';
import type { Route } from './routes.ts';
import { sumUsage } from './sum-usage.ts';
import {
  answerError,
  beginAfterMs,
  keepAliveEveryMs,
  lateModel,
  notesOf,
  streamHeaders,
  usageHeaders,
} from './turn-output.ts';

/** Several turns that are one answer. */
export interface ChoicesOutput {
  /** One for each choice, in order. */
  readonly outputs: readonly TurnOutput[];
  /** Aborts when one of them failed: the answer is over, and so are the others. */
  readonly signal: AbortSignal;
  /** See StreamOutput; a whole answer has nothing to keep alive. */
  readonly tick: ((now: number) => void) | undefined;
}

export interface ChoicesAnswer<Options> {
  readonly response: ServerResponse;
  readonly inbound: Inbound<Options>;
  readonly encoders: ChoicesEncoders<Options>;
  readonly options: Options;
  readonly count: number;
  readonly headFor: HeadFor;
  readonly now: () => number;
}

const otherFailed = new AppError('cancelled', 'Another choice of the same answer failed.');

/**
 * Writes several choices as one stream: their chunks as they come, then the usage of all, and one end. The first error
 * is the end of all.
 */
export function createChoicesStream<Options>(answer: ChoicesAnswer<Options>): ChoicesOutput {
  const { response, inbound, encoders, options, headFor, now } = answer;
  const failed = new AbortController();
  const choices: (StreamEncoder | undefined)[] = Array.from({ length: answer.count });
  const usages: (Usage | undefined)[] = [];
  let begun: ReturnType<HeadFor>['identity'] | undefined;
  const routes: Route[] = [];
  let unfinished = answer.count;
  let isOver = false;
  let lastWriteAt = now();

  function begin() {
    if (begun) return begun;
    const { identity, headers } = headFor(...known(routes));
    response.writeHead(200, { ...headers, ...streamHeaders });
    begun = identity;
    return identity;
  }

  function encoderOf(choice: number): StreamEncoder {
    const encoder = choices[choice] ?? encoders.streamEncoder(begin(), options, choice);
    choices[choice] = encoder;
    return encoder;
  }

  function end(): string {
    const usage = usages.reduce(sumUsage, undefined);
    const late = lateModel(known(routes), begin().answeredBy);
    return (
      notesOf({ ...late, ...(usage ? usageHeaders(usage) : {}) }) +
      encoders.encodeEnd(begin(), options, usage)
    );
  }

  function write(choice: number, events: readonly TurnEvent[]): boolean {
    if (isOver) return true;
    const last = events[events.length - 1];
    lastWriteAt = now();
    if (last?.type === 'error') {
      isOver = true;
      if (begun) response.end(encoderOf(choice).encode(events));
      else answerError(response, inbound, last.error, headFor(...known(routes)).headers);
      failed.abort(otherFailed);
      return true;
    }
    for (const event of events) if (event.type === 'usage') usages[choice] = event.usage;
    const text = encoderOf(choice).encode(events);
    if (last?.type === 'finish') unfinished -= 1;
    if (unfinished === 0) {
      isOver = true;
      response.end(text + end());
      return true;
    }
    return text === '' || response.write(text);
  }

  const outputs = choices.map(
    (_, choice): TurnOutput => ({
      isBuffered: false,
      resume: undefined,
      onRoute(route) {
        routes[choice] = route;
      },
      write: (events) => write(choice, events),
    }),
  );
  response.on('drain', () => {
    for (const output of outputs) output.resume?.();
  });
  return {
    outputs,
    signal: failed.signal,
    tick(time) {
      if (isOver || response.destroyed || response.writableNeedDrain) return;
      if (time - lastWriteAt < (begun ? keepAliveEveryMs : beginAfterMs)) return;
      lastWriteAt = time;
      begin();
      response.write(encoderOf(0).keepAlive);
    },
  };
}

/** Answers several choices whole, once all are there. */
export function createWholeChoices<Options>(answer: ChoicesAnswer<Options>): ChoicesOutput {
  const { response, inbound, encoders, options, headFor } = answer;
  const failed = new AbortController();
  const collections = Array.from({ length: answer.count }, emptyCollection);
  const routes: Route[] = [];

  function answerAll(): void {
    const answers = collections.map(wholeOf).filter((whole) => whole !== undefined);
    if (answers.length < collections.length) return;
    const usage = answers.map((whole) => whole.usage).reduce(sumUsage, undefined);
    const { identity, headers } = headFor(...known(routes));
    const body = Buffer.from(encoders.encodeAnswers(identity, answers, options, usage));
    response.writeHead(200, {
      ...headers,
      ...(usage ? usageHeaders(usage) : {}),
      'content-type': 'application/json; charset=utf-8',
      'content-length': body.length,
    });
    response.end(body);
  }

  const outputs = collections.map(
    (_, choice): TurnOutput => ({
      isBuffered: true,
      resume: undefined,
      onRoute(route) {
        routes[choice] = route;
        collections[choice] = emptyCollection();
      },
      write(events) {
        if (failed.signal.aborted) return true;
        const into = collections[choice] ?? emptyCollection();
        for (const event of events) {
          if (event.type === 'error') {
            answerError(response, inbound, event.error, headFor(...known(routes)).headers);
            failed.abort(otherFailed);
            return true;
          }
          collect(into, event);
        }
        if (into.finishReason !== undefined) answerAll();
        return true;
      },
    }),
  );
  return { outputs, signal: failed.signal, tick: undefined };
}

/** Of the choices that have got as far. */
function known(routes: readonly Route[]): Route[] {
  return routes.filter((route) => route !== undefined);
}
