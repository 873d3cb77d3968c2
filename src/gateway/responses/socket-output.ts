import type { Socket } from 'node:net';
import type { WebSocket } from '@fastify/websocket';
import type { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn } from '../../core/protocol.ts';
import type { TurnEvent } from '../../core/turn.ts';
import type { ResponsesOptions } from '../../protocols/openai-responses/response.ts';
import { ResponseEvents } from '../../protocols/openai-responses/response-events.ts';
import type { AnswerHead } from '../output/answer-head.ts';
import { errorHeaders } from '../output/http-answer.ts';
import type { Attempt } from '../turn/attempt.ts';
import type { TurnOutput } from '../turn/turn-output.ts';

/** Bytes that may wait for a slow client before the upstream is paused. */
const highWaterBytes = 64 * 1024;

export interface SocketTurn {
  readonly socket: WebSocket;
  /** What carries the frames: those of one batch leave in one write. */
  readonly wire: Socket;
  readonly options: ResponsesOptions;
  readonly head: AnswerHead;
  /** Of the client, to tell apart what belongs to which request; repeated in every event. */
  readonly streamId: string | undefined;
}

/** Answers a turn over a WebSocket: each event of the dialect is a text frame. */
export class SocketOutput implements TurnOutput {
  readonly isBuffered = false;
  readonly status = 101;
  readonly #turn: SocketTurn;
  #attempt: Attempt | undefined;
  #events: ResponseEvents | undefined;
  #identity: AnswerIdentity | undefined;
  #behind: PromiseWithResolvers<void> | undefined;
  /** The response as it ended, unless it failed. */
  response: Record<string, unknown> | undefined;

  constructor(turn: SocketTurn) {
    this.#turn = turn;
  }

  get answeredBy(): string | undefined {
    return this.#identity?.answeredBy;
  }

  begin(attempt: Attempt): void {
    this.#attempt = attempt;
  }

  write(batch: readonly TurnEvent[]): Promise<void> | undefined {
    const { socket, wire } = this.#turn;
    if (socket.readyState !== socket.OPEN) return undefined;
    wire.cork();
    this.#begun().push(batch);
    wire.uncork();
    if (socket.bufferedAmount <= highWaterBytes) return undefined;
    this.#behind ??= Promise.withResolvers();
    return this.#behind.promise;
  }

  finish(_answer: CollectedTurn, events: readonly TurnEvent[]): void {
    void this.write(events);
  }

  fail(error: AppError, events: readonly TurnEvent[]): void {
    const { socket, streamId } = this.#turn;
    if (this.#events) void this.write(events);
    else sendErrorFrame(socket, error, streamId, this.#turn.head.headers(this.#answering));
  }

  /** A response without an answer of the model: its request was taken in and no more. */
  prepare(): void {
    this.#open(false).prepare();
  }

  get #answering(): readonly Attempt[] {
    return this.#attempt ? [this.#attempt] : [];
  }

  #begun(): ResponseEvents {
    return this.#events ?? this.#open(true);
  }

  #open(hasHeaders: boolean): ResponseEvents {
    const { socket, options, streamId, head } = this.#turn;
    const identity = head.identity(this.#answering);
    const headers = head.headers(this.#answering);
    /** The first event tells what are headers over HTTP. */
    let more = { ...labelOf(streamId), ...(hasHeaders ? { headers } : {}) };
    this.#identity = identity;
    this.#events = new ResponseEvents(identity, options, {
      emit: (_type, json) => {
        sendLabelled(socket, json, more, this.#caughtUp);
        more = labelOf(streamId);
      },
      onEnd: (response) => {
        if (response['status'] !== 'failed') this.response = response;
      },
    });
    return this.#events;
  }

  readonly #caughtUp = (): void => {
    if (!this.#behind || this.#turn.socket.bufferedAmount > highWaterBytes / 2) return;
    this.#behind.resolve();
    this.#behind = undefined;
  };
}

/** Resolves when what was written has left for the client, or the client has. */
export async function hasTaken(wire: Socket): Promise<void> {
  if (!wire.writableNeedDrain) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  wire.once('drain', resolve).once('close', resolve);
  await promise;
  wire.off('drain', resolve).off('close', resolve);
}

/** An error outside of a response's events, with the status and headers it would have over HTTP. */
export function sendErrorFrame(
  socket: WebSocket,
  error: AppError,
  streamId?: string,
  answerHeaders: Readonly<Record<string, string>> = {},
): void {
  if (socket.readyState !== socket.OPEN) return;
  const headers = { ...answerHeaders, ...errorHeaders(error) };
  const frame = {
    type: 'error',
    status: error.status,
    error: {
      type: error.openaiType,
      code: error.openaiCode ?? error.openaiType,
      message: error.message,
      param: error.param ?? null,
      ...(Object.keys(headers).length > 0 ? { headers } : {}),
    },
  };
  sendLabelled(socket, JSON.stringify(frame), labelOf(streamId));
}

/** The client's own label for its request. */
function labelOf(streamId: string | undefined): { readonly stream_id?: string } {
  return streamId === undefined ? {} : { stream_id: streamId };
}

/** A JSON object as a frame, with further fields before its own. */
function sendLabelled(
  socket: WebSocket,
  json: string,
  more: Readonly<Record<string, unknown>>,
  onSent: () => void = () => {},
): void {
  const before = JSON.stringify(more);
  const text = before === '{}' ? json : `${before.slice(0, -1)},${json.slice(1)}`;
  // A socket that breaks meanwhile closes, and that ends the turn.
  socket.send(text, onSent);
}
