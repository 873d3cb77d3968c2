import type { Socket } from 'node:net';
import type { WebSocket } from '@fastify/websocket';
import type { AppError } from '../core/errors.ts';
import type { AnswerIdentity } from '../core/protocol.ts';
import type { ResponsesOptions } from '../protocols/openai-responses/decode-request.ts';
import { createResponseEvents, type ResponseEvents } from '../protocols/openai-responses/response-events.ts';
import type { HeadFor } from './answer-head.ts';
import type { TurnOutput } from './attempt.ts';
import type { Route } from './routes.ts';
import { errorHeaders, headOf } from './turn-output.ts';

/** Bytes that may wait for a slow client before the upstream is paused. */
const highWaterBytes = 64 * 1024;

export interface SocketTurn {
  readonly socket: WebSocket;
  /** What carries the frames: those of one batch leave in one write. */
  readonly wire: Socket;
  readonly options: ResponsesOptions;
  readonly headFor: HeadFor;
  /** Of the client, to tell apart what belongs to which request; repeated in every event. */
  readonly streamId: string | undefined;
  /** The response as it ended. */
  onEnd(response: Record<string, unknown>, identity: AnswerIdentity): void;
}

/** Answers a turn over a WebSocket: each event of the dialect is a text frame. */
export function createSocketOutput(turn: SocketTurn): TurnOutput {
  const { socket, wire, headFor } = turn;
  let events: ResponseEvents | undefined;
  let route: Route | undefined;
  let isBehind = false;

  const caughtUp = (): void => {
    if (!isBehind || socket.bufferedAmount > highWaterBytes / 2) return;
    isBehind = false;
    output.resume?.();
  };

  function begin(): ResponseEvents {
    if (events) return events;
    const { identity, headers } = headOf(headFor, route);
    let told: Readonly<Record<string, unknown>> = { headers };
    events = createResponseEvents(identity, turn.options, {
      emit(_type, json) {
        sendLabelled(socket, json, { ...labelOf(turn.streamId), ...told }, caughtUp);
        told = {};
      },
      onEnd: (response) => turn.onEnd(response, identity),
    });
    return events;
  }

  const output: TurnOutput = {
    isBuffered: false,
    resume: undefined,
    onRoute(chosen) {
      route = chosen;
    },
    write(batch) {
      const last = batch[batch.length - 1];
      if (socket.readyState !== socket.OPEN) return true;
      if (last?.type === 'error' && events === undefined) {
        sendErrorFrame(socket, last.error, turn.streamId, headOf(headFor, route).headers);
        return true;
      }
      wire.cork();
      begin().push(batch);
      wire.uncork();
      isBehind = socket.bufferedAmount > highWaterBytes;
      return !isBehind;
    },
  };
  return output;
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
export function labelOf(streamId: string | undefined): { readonly stream_id?: string } {
  return streamId === undefined ? {} : { stream_id: streamId };
}

/** A JSON object as a frame, with further fields before its own. */
export function sendLabelled(
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
