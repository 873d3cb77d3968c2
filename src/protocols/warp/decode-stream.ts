import { AppError } from '../../core/errors.ts';
import type { ConversationMemory, TurnDecoder } from '../../core/protocol.ts';
import type { Tool, TurnEvent } from '../../core/turn.ts';
import { inOwnMemory } from '../../lib/read-bytes.ts';
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
import { ResponseEvent, StreamFinished, type StreamInit, type UsageTotals } from './schema.ts';
import { ConversationTasks, ShownText } from './tasks.ts';
import { toolCallEvents } from './tool-calls.ts';
import { noTotals, usageOf } from './usage.ts';
import { FieldBudget, readAppend, readMessage, type StringAppend } from './wire-message.ts';

interface DecoderOptions {
  /** Those the request offered. */
  readonly tools: readonly Pick<Tool, 'name'>[];
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

export class WarpDecoder implements TurnDecoder {
  isModelListOutdated = false;
  readonly #options: DecoderOptions;
  readonly #answer: AnswerStream;
  readonly #tasks: ConversationTasks;
  readonly #text: ShownText;
  readonly #fields = new FieldBudget((field) => this.#note('unreadable-field', field));
  readonly #note: NoteAnomaly = (anomaly, detail) => {
    // The upstream's tasks are no longer the ones kept here, so the next turn has to start afresh.
    if (losesTrack(anomaly, detail)) this.#isMemoryTrue = false;
    this.#noted += 1;
    if (this.#noted > mostNoted) return;
    this.#options.onAnomaly?.(anomaly, {
      upstreamRequestId: this.#requestId,
      ...(detail !== undefined && { detail: shortened(detail, longestDetail) }),
    });
  };
  #isMemoryTrue = true;
  #noted = 0;
  #conversationId: string;
  #requestId = '';
  #isStarted = false;
  #lastAppend: StringAppend | undefined;
  #totals: UsageTotals | undefined;

  constructor(options: DecoderOptions) {
    this.#options = options;
    this.#answer = new AnswerStream((data) => this.#read(data), echoBytes(options.requestBytes ?? 0));
    this.#tasks = new ConversationTasks(options.remembered?.tasks ?? []);
    this.#text = new ShownText(this.#answer, this.#note);
    this.#conversationId = options.remembered?.conversationId ?? '';
  }

  push(bytes: Uint8Array): readonly TurnEvent[] {
    if (this.#answer.isOver) return [];
    try {
      // Framing and payload are ASCII, and one byte a character needs no state between reads.
      const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
      this.#answer.feed(text, bytes.length);
    } catch (cause) {
      this.#answer.fail(undecodable(cause));
    }
    return this.#answer.take();
  }

  end(): readonly TurnEvent[] {
    this.#answer.fail(noEnd());
    return this.#answer.take();
  }

  memory(): ConversationMemory | undefined {
    if (!this.#totals || !this.#isMemoryTrue || this.#conversationId === '') return undefined;
    const active = this.#tasks.activeEntries().map(({ task, held }) => ({
      task,
      messages: held.map(({ content }) => content),
    }));
    return active.length > 0 ? encodeMemory(this.#conversationId, active, this.#totals) : undefined;
  }

  #read(data: string): void {
    if (data === '') return;
    const payload = decodePayload(data);
    if (!payload) {
      this.#answer.fail(undecodable());
      return;
    }
    const append = this.#isStarted ? readAppend(payload, this.#lastAppend) : undefined;
    if (append && applyAppend(this.#tasks, append, this.#text)) {
      this.#lastAppend = append;
      return;
    }
    this.#fields.beginEvent();
    // Some of it is remembered, for as long as the conversation is.
    const { type } = readMessage(ResponseEvent, inOwnMemory(payload), this.#fields);
    if (!this.#isStarted) this.#start(type.case === 'init' ? type.value : undefined);
    else if (type.case === 'init') this.#conversationId ||= type.value.conversationId;
    if (type.case === 'clientActions') {
      for (const { action } of type.value.actions)
        applyAction(this.#tasks, action, this.#text, this.#fields, this.#note);
    } else if (type.case === 'finished') this.#finish(type.value);
  }

  #start(init: StreamInit | undefined): void {
    this.#isStarted = true;
    this.#conversationId = init?.conversationId || this.#conversationId;
    this.#requestId = init?.requestId ?? '';
    this.#answer.add({
      type: 'start',
      ...(this.#requestId !== '' && { upstreamRequestId: this.#requestId }),
    });
  }

  #finish(finished: StreamFinished): void {
    const { remembered, tools } = this.#options;
    this.isModelListOutdated = finished.shouldRefreshModelConfig;
    const figures = usageOf(finished, remembered?.totals ?? noTotals);
    const usage: TurnEvent[] = figures.usage ? [{ type: 'usage', usage: figures.usage }] : [];
    try {
      const ending = endingOf(finished);
      const calls = ending === 'length' ? [] : toolCallEvents(this.#tasks, tools, this.#requestId);
      if (ending === 'unnamed' && !this.#text.hasSpoken && calls.length === 0) throw nothingAnswered();
      const reason = ending === 'length' ? 'length' : calls.length > 0 ? 'tool-calls' : 'stop';
      for (const event of [...calls, ...usage]) this.#answer.add(event);
      this.#answer.add({ type: 'finish', reason });
      this.#totals = figures.totals;
    } catch (error) {
      for (const event of usage) this.#answer.add(event);
      this.#answer.fail(AppError.from(error));
    }
  }
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
