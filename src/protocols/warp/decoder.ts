import { createParser } from 'eventsource-parser';
import { AppError } from '../../core/errors.ts';
import type { ConversationMemory, TurnDecoder } from '../../core/protocol.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { shortened } from '../../lib/shown-text.ts';
import { type Anomaly, applyAction, applyAppend, type NoteAnomaly } from './apply-action.ts';
import { endingOf, nothingAnswered } from './finish.ts';
import { ResponseEventSchema, type StreamFinished, type StreamInit } from './gen/warp_pb.js';
import { encodeMemory, noTotals, type Remembered, type UsageTotals } from './memory.ts';
import { decodePayload } from './payload.ts';
import { createAppendReader } from './read-append.ts';
import { readMessage } from './read-message.ts';
import { ShownText } from './shown-text.ts';
import { ConversationTasks } from './tasks.ts';
import { toolCallEvents } from './tool-calls.ts';
import { usageOf } from './usage.ts';

export interface DecoderOptions {
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

/** One event, base64 and all, may be this long beside an echo of the request. */
const maxEventBytes = 32 * 1024 * 1024;
/** And one whole answer this long: its text is kept for the next turn. */
const maxAnswerBytes = 256 * 1024 * 1024;
/** Anomalies that are logged of one answer: the first ones say enough. */
const mostNoted = 20;
const longestDetail = 200;
/** What an echo takes in base64. */
const echoBytes = (requestBytes: number) => Math.ceil((requestBytes * 4) / 3);

export function createDecoder(options: DecoderOptions): TurnDecoder {
  const echo = echoBytes(options.requestBytes ?? 0);
  const tasks = new ConversationTasks(options.remembered?.tasks ?? []);
  let events: TurnEvent[] = [];
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
      events.push(event);
    },
    () => note('rewritten-text'),
  );
  let conversationId = options.remembered?.conversationId ?? '';
  let requestId = '';
  let isStarted = false;
  let isOver = false;
  let totals: UsageTotals | undefined;
  let isModelListOutdated = false;
  let answerBytes = 0;

  const readAppend = createAppendReader();
  const parser = createParser({
    maxBufferSize: maxEventBytes + echo,
    onEvent: (event) => read(event.data),
    onError(error) {
      if (error.type === 'max-buffer-size-exceeded') fail(tooLong());
    },
  });

  function read(data: string): void {
    if (isOver || data === '') return;
    const payload = decodePayload(data);
    if (!payload) {
      fail(undecodable());
      return;
    }
    const append = isStarted ? readAppend(payload) : undefined;
    if (append && applyAppend(tasks, append, text)) return;

    const { type } = readMessage(ResponseEventSchema, payload, (field) => note('unreadable-field', field));
    if (!isStarted) start(type.case === 'init' ? type.value : undefined);
    else if (type.case === 'init') conversationId ||= type.value.conversationId;
    if (type.case === 'clientActions') {
      for (const { action } of type.value.actions) applyAction(tasks, action, text, note);
    } else if (type.case === 'finished') finish(type.value);
  }

  function start(init: StreamInit | undefined): void {
    isStarted = true;
    conversationId = init?.conversationId || conversationId;
    requestId = init?.requestId ?? '';
    events.push({ type: 'start', ...(requestId !== '' && { upstreamRequestId: requestId }) });
  }

  function finish(finished: StreamFinished): void {
    isModelListOutdated = finished.shouldRefreshModelConfig;
    const figures = usageOf(finished, options.remembered?.totals ?? noTotals);
    const usage: TurnEvent[] = figures.usage ? [{ type: 'usage', usage: figures.usage }] : [];
    try {
      const ending = endingOf(finished);
      const calls = ending === 'length' ? [] : toolCallEvents(tasks, options.offeredTools, requestId);
      if (ending === 'unnamed' && !hasContent && calls.length === 0) throw nothingAnswered();
      const reason = ending === 'length' ? 'length' : calls.length > 0 ? 'tool-calls' : 'stop';
      events = [...events, ...calls, ...usage, { type: 'finish', reason }];
      isOver = true;
      totals = figures.totals;
    } catch (error) {
      events.push(...usage);
      fail(AppError.from(error));
    }
  }

  function fail(error: AppError): void {
    if (isOver) return;
    isOver = true;
    events.push({ type: 'error', error });
  }

  function take(): readonly TurnEvent[] {
    const taken = events;
    events = [];
    return taken;
  }

  return {
    push(bytes) {
      if (isOver) return [];
      answerBytes += bytes.length;
      if (answerBytes > maxAnswerBytes + echo) fail(tooLong());
      else {
        try {
          // Framing and payload are ASCII, and one byte a character needs no state between reads.
          parser.feed(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1'));
        } catch (cause) {
          fail(undecodable(cause));
        }
      }
      return take();
    },
    end() {
      fail(protocolError("The upstream's answer ended without its end mark."));
      return take();
    },
    get isModelListOutdated() {
      return isModelListOutdated;
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
}

function protocolError(message: string, cause?: unknown): AppError {
  return new AppError('upstream_protocol', `${message} Try again.`, { cause });
}

function undecodable(cause?: unknown): AppError {
  return protocolError('The upstream sent an event that cannot be decoded.', cause);
}

/** The limit is ours, and the same request would meet it again. */
function tooLong(): AppError {
  return new AppError('upstream_protocol', 'The upstream sent more than an answer can hold.', {
    fault: 'service',
    failover: 'no',
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
