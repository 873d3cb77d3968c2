import { AppError } from '../../core/errors.ts';
import type { ConversationMemory, TurnDecoder } from '../../core/protocol.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { shortened } from '../../lib/shown-text.ts';
import { AnswerStream } from '../shared/answer-stream.ts';
import { noEnd, upstreamWords } from '../shared/failed-answer.ts';
import { type Anomaly, applyAction, applyAppend, type NoteAnomaly } from './apply-action.ts';
import {
  contextTooLong,
  internalErrorOf,
  modelRestMs,
  outOfCredits,
  upstreamFailed,
} from './classify-failure.ts';
import { encodeMemory, type Remembered } from './memory.ts';
import { createAppendReader, FieldBudget, readMessage } from './read-message.ts';
import { ResponseEvent, StreamFinished, type StreamInit, type UsageTotals } from './schema.ts';
import { ConversationTasks, ShownText } from './tasks.ts';
import { toolCallEvents } from './tool-calls.ts';
import { noTotals, usageOf } from './usage.ts';

interface DecoderOptions {
  /** Names of the tools the request offered. */
  readonly offeredTools: ReadonlySet<string>;
  readonly remembered: Remembered | undefined;
  /** How long the request was: the upstream may send all of it back in one event. */
  readonly requestBytes?: number;
  readonly onAnomaly?: OnAnomaly;
}

export type OnAnomaly = (
  anomaly: Anomaly,
  facts: { readonly upstreamRequestId: string; readonly detail?: string },
) => void;

/** Anomalies that are logged of one answer: the first ones say enough. */
const mostNoted = 20;
const longestDetail = 200;
/** What an echo takes in base64. */
const echoBytes = (requestBytes: number) => Math.ceil((requestBytes * 4) / 3);

export function createDecoder(options: DecoderOptions): TurnDecoder {
  const tasks = new ConversationTasks(options.remembered?.tasks ?? []);
  let isMemoryTrue = true;
  let noted = 0;
  const note: NoteAnomaly = (anomaly, detail) => {
    // The upstream's tasks are no longer the ones kept here, so the next turn has to start afresh.
    if (losesTrack(anomaly, detail)) isMemoryTrue = false;
    noted += 1;
    if (noted > mostNoted) return;
    options.onAnomaly?.(anomaly, {
      upstreamRequestId: requestId,
      ...(detail !== undefined && { detail: shortened(detail, longestDetail) }),
    });
  };
  let hasContent = false;
  const text = new ShownText(
    (event) => {
      hasContent = true;
      answer.add(event);
    },
    () => note('rewritten-text'),
  );
  let conversationId = options.remembered?.conversationId ?? '';
  let requestId = '';
  let isStarted = false;
  let totals: UsageTotals | undefined;

  const fields = new FieldBudget((field) => note('unreadable-field', field));
  const readAppend = createAppendReader();
  const answer = new AnswerStream(read, echoBytes(options.requestBytes ?? 0));

  function read(data: string): void {
    if (data === '') return;
    const payload = decodePayload(data);
    if (!payload) {
      answer.fail(undecodable());
      return;
    }
    const append = isStarted ? readAppend(payload) : undefined;
    if (append && applyAppend(tasks, append, text)) return;

    fields.beginEvent();
    const { type } = readMessage(ResponseEvent, payload, fields);
    if (!isStarted) start(type.case === 'init' ? type.value : undefined);
    else if (type.case === 'init') conversationId ||= type.value.conversationId;
    if (type.case === 'clientActions') {
      for (const { action } of type.value.actions) applyAction(tasks, action, text, fields, note);
    } else if (type.case === 'finished') finish(type.value);
  }

  function start(init: StreamInit | undefined): void {
    isStarted = true;
    conversationId = init?.conversationId || conversationId;
    requestId = init?.requestId ?? '';
    answer.add({ type: 'start', ...(requestId !== '' && { upstreamRequestId: requestId }) });
  }

  function finish(finished: StreamFinished): void {
    decoder.isModelListOutdated = finished.shouldRefreshModelConfig;
    const figures = usageOf(finished, options.remembered?.totals ?? noTotals);
    const usage: TurnEvent[] = figures.usage ? [{ type: 'usage', usage: figures.usage }] : [];
    try {
      const ending = endingOf(finished);
      const calls = ending === 'length' ? [] : toolCallEvents(tasks, options.offeredTools, requestId);
      if (ending === 'unnamed' && !hasContent && calls.length === 0) throw nothingAnswered();
      const reason = ending === 'length' ? 'length' : calls.length > 0 ? 'tool-calls' : 'stop';
      for (const event of [...calls, ...usage]) answer.add(event);
      answer.add({ type: 'finish', reason });
      totals = figures.totals;
    } catch (error) {
      for (const event of usage) answer.add(event);
      answer.fail(AppError.from(error));
    }
  }

  // No getter: with one that is a closure each decoder gets a hidden class of its own. V8 makes these among old objects, and they
  // hold all of the answer until it next collects those.
  const decoder = {
    isModelListOutdated: false,
    push(bytes: Uint8Array): readonly TurnEvent[] {
      if (answer.isOver) return [];
      try {
        // Framing and payload are ASCII, and one byte a character needs no state between reads.
        const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
        answer.feed(text, bytes.length);
      } catch (cause) {
        answer.fail(undecodable(cause));
      }
      return answer.take();
    },
    end(): readonly TurnEvent[] {
      answer.fail(noEnd());
      return answer.take();
    },
    memory(): ConversationMemory | undefined {
      if (!totals || !isMemoryTrue || conversationId === '') return undefined;
      const active = tasks.activeEntries().map(({ task, held }) => ({
        task,
        messages: held.map(({ content }) => content),
      }));
      return active.length > 0 ? encodeMemory(conversationId, active, totals) : undefined;
    },
  };
  return decoder;
}

function undecodable(cause?: unknown): AppError {
  return new AppError('upstream_protocol', 'The upstream sent an event that cannot be decoded. Try again.', {
    cause,
  });
}

/** Whether the tasks kept here may differ from the upstream's after this. */
function losesTrack(anomaly: Anomaly, detail = ''): boolean {
  switch (anomaly) {
    case 'unmatched-move':
    case 'opaque-mask-path':
    case 'not-text-mask-path':
      return true;
    case 'unreadable-field':
      return /^(ClientAction|UpdateTask\w+|MoveMessagesToNewTask)\./.test(detail);
    default:
      return false;
  }
}

/** Numbers of the fields that are figures. One that could not be read is still no reason. */
const figures: ReadonlySet<number> = new Set(
  StreamFinished.plans.flatMap(({ number, member }) => (member === undefined ? [number] : [])),
);

/**
 * How the upstream ended the turn: done, cut at its token limit, or without a reason. Throws an AppError for
 * any other end: a reason of an unknown number is not success.
 */
function endingOf(finished: StreamFinished): 'done' | 'length' | 'unnamed' {
  const { reason } = finished;
  switch (reason.case) {
    case 'done':
      return 'done';
    case 'maxTokenLimit':
      return 'length';
    case 'quotaLimit':
      throw outOfCredits();
    case 'subscriptionLimit': {
      const words = upstreamWords(reason.value.message);
      throw outOfCredits({}, words === '' ? 'Look into its plan.' : `The upstream says: ${words}`);
    }
    case 'contextWindowExceeded':
      throw contextTooLong();
    case 'llmUnavailable':
      throw new AppError(
        'model_unavailable',
        'The model is not available at the moment. Try again shortly, or choose another model.',
        { retryAfterMs: modelRestMs },
      );
    case 'invalidApiKey':
      // The account's own credential was accepted: the key that was not is its model vendor's.
      throw new AppError(
        'upstream_unauthorized',
        "The model's vendor refused the key stored with the upstream account. Correct that key.",
        {
          cause: new Error(`the model is ${JSON.stringify(shortened(reason.value.modelName, 200))}`),
          fault: 'model',
          // Not remembered as a refusal of the model: its owner may correct the key at once.
          failover: 'once',
        },
      );
    case 'internalError':
      throw internalErrorOf(reason.value.message);
    case 'other':
      throw upstreamFailed(new Error('the upstream ended the turn for a reason it does not name'));
    default: {
      const unknown = (finished.$unknown ?? []).filter(({ number }) => !figures.has(number));
      if (unknown.length > 0) {
        const numbers = [...new Set(unknown.map(({ number }) => number))].slice(0, 10).join(', ');
        throw upstreamFailed(new Error(`the end has no reason that is known here, but field ${numbers}`));
      }
      return 'unnamed';
    }
  }
}

/** No reason counts as done only where there is an answer. */
function nothingAnswered(): AppError {
  return upstreamFailed(new Error('the end has no reason, and nothing was answered'));
}

/**
 * The bytes of one event's data: URL-safe base64, padded or not, often in double quotes. Undefined when it is not
 * that.
 */
export function decodePayload(data: string): Buffer | undefined {
  let start = 0;
  let end = data.length;
  while (start < end && data.charCodeAt(start) === 0x22) start++;
  while (end > start && data.charCodeAt(end - 1) === 0x22) end--;
  let padding = 0;
  while (padding < 2 && end > start && data.charCodeAt(end - 1) === 0x3d) {
    end--;
    padding++;
  }
  const text = start === 0 && end === data.length ? data : data.slice(start, end);
  if (text.length % 4 === 1) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  // Buffer passes over what is no base64, so a payload with junk comes out too short.
  return bytes.length === Math.floor((text.length * 3) / 4) ? bytes : undefined;
}
