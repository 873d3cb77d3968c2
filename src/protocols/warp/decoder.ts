import { fromBinary } from '@bufbuild/protobuf';
import { createParser } from 'eventsource-parser';
import { AppError } from '../../core/errors.ts';
import type { ConversationMemory, TurnDecoder } from '../../core/protocol.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { type Anomaly, applyAction, applyAppend, type NoteAnomaly } from './apply-action.ts';
import { endingOf } from './finish.ts';
import { ResponseEventSchema, type StreamFinished, type StreamInit } from './gen/warp_pb.js';
import { encodeMemory, noTotals, type Remembered, type UsageTotals } from './memory.ts';
import { decodePayload } from './payload.ts';
import { createAppendReader } from './read-append.ts';
import { ShownText } from './shown-text.ts';
import { ConversationTasks } from './tasks.ts';
import { toolCallEvents } from './tool-calls.ts';
import { usageOf } from './usage.ts';

export interface DecoderOptions {
  /** Names of the tools the request offered. */
  readonly offeredTools: ReadonlySet<string>;
  readonly remembered: Remembered | undefined;
  readonly onAnomaly?: OnAnomaly;
}

export type OnAnomaly = (
  anomaly: Anomaly,
  facts: { readonly upstreamRequestId: string; readonly detail?: string },
) => void;

/** One event, base64 and all, may be this long. */
const maxEventBytes = 32 * 1024 * 1024;
/** And one whole answer this long: its text is kept for the next turn. */
const maxAnswerBytes = 256 * 1024 * 1024;

export function createDecoder(options: DecoderOptions): TurnDecoder {
  const tasks = new ConversationTasks(options.remembered?.tasks ?? []);
  let events: TurnEvent[] = [];
  let isMemoryTrue = true;
  const note: NoteAnomaly = (anomaly, detail) => {
    // The upstream's tasks are no longer the ones kept here, so the next turn has to start afresh.
    if (anomaly === 'unmatched-move' || anomaly === 'opaque-mask-path') isMemoryTrue = false;
    options.onAnomaly?.(anomaly, { upstreamRequestId: requestId, ...(detail !== undefined && { detail }) });
  };
  const text = new ShownText(
    (event) => {
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
    maxBufferSize: maxEventBytes,
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

    const { type } = fromBinary(ResponseEventSchema, payload);
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
    const pruned = finished.prunedMedia?.prunedCount ?? 0;
    if (pruned > 0) note('pruned-media', String(pruned));
    const figures = usageOf(finished, options.remembered?.totals ?? noTotals);
    const usage: TurnEvent[] = figures.usage ? [{ type: 'usage', usage: figures.usage }] : [];
    try {
      const ending = endingOf(finished.reason);
      const calls = ending === 'done' ? toolCallEvents(tasks, options.offeredTools, requestId) : [];
      const reason =
        ending === 'done' && calls.length > 0 ? 'tool-calls' : ending === 'done' ? 'stop' : ending;
      events.push(...calls, ...usage, { type: 'finish', reason });
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
      if (answerBytes > maxAnswerBytes) fail(tooLong());
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
      const active = tasks.active();
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

function tooLong(): AppError {
  return protocolError('The upstream sent more than an answer can hold.');
}
