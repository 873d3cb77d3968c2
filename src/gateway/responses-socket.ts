import type { Socket } from 'node:net';
import type { WebSocket } from '@fastify/websocket';
import { AppError } from '../core/errors.ts';
import type { AnswerIdentity } from '../core/protocol.ts';
import type { BodyBudget, HeldBody } from '../lib/body-budget.ts';
import type { Clock } from '../lib/clock.ts';
import type { ListeningTime } from '../lib/listening-time.ts';
import type { Logger } from '../lib/logger.ts';
import { createResponsesInbound } from '../protocols/openai-responses/inbound.ts';
import { createResponseEvents } from '../protocols/openai-responses/response-events.ts';
import { answerHeads } from './answer-head.ts';
import { appErrorFrom } from './app-error-from.ts';
import type { ClientTurns } from './client-turns.ts';
import { createDrain } from './drain.ts';
import { createRecentTurns } from './recent-turns.ts';
import { type ReadRequest, readResponsesRequest } from './responses-request.ts';
import type { Routes } from './routes.ts';
import { readMessage, type SocketMessage } from './socket-message.ts';
import {
  createSocketOutput,
  labelOf,
  type SocketTurn,
  sendErrorFrame,
  sendLabelled,
} from './socket-output.ts';
import { continuedBy, type StoredResponses } from './stored-responses.ts';

export interface ResponsesSocketsOptions {
  readonly clientTurns: ClientTurns;
  readonly routes: Pick<Routes, 'check'>;
  readonly responses: StoredResponses;
  readonly bodies: BodyBudget;
  readonly clock: Clock;
  readonly listening: ListeningTime;
  readonly logger: Logger;
}

/** Clients that hold a WebSocket open and send one request after another over it. */
export interface ResponsesSockets {
  /** Turns under way. */
  readonly turnCount: number;
  /** Throws AppError when there is no room for another connection of that client. */
  checkRoom(clientId: string): void;
  accept(socket: WebSocket, connection: SocketConnection): void;
  /** To be called now and then with the listening time: keeps connections alive and ends those that are dead. */
  tick(now: number): void;
  /** Resolves when all are closed. Turns are ended with an error after `deadlineMs`. */
  drain(deadlineMs: number): Promise<void>;
}

export interface SocketConnection {
  readonly clientId: string;
  readonly affinityKey: string | undefined;
  readonly requestId: string;
  readonly wire: Socket;
}

interface Connection {
  readonly socket: WebSocket;
  readonly clientId: string;
  readonly abort: AbortController;
  isBusy: boolean;
  /** No turn begins any more; the connection closes after the running one. */
  isEnding: boolean;
  lastHeardAt: number;
  lastPingAt: number;
}

interface Waiting {
  readonly message: SocketMessage;
  readonly held: HeldBody;
}

const lifetimeMs = 60 * 60_000;
const pingEveryMs = 30_000;
/** A client that takes nothing and says nothing for so long is gone. */
const silentAfterMs = 120_000;
const maxSockets = 1_000;
const maxSocketsOfClient = 200;
/** Requests that may wait for the running one. */
const maxWaiting = 16;
const maxWaitingBytes = 32 * 1024 * 1024;
/** For what connections said last, all of them together. */
const recentBytes = 64 * 1024 * 1024;
const goingAway = 1001;
const tryAgainLater = 1013;

export function createResponsesSockets(options: ResponsesSocketsOptions): ResponsesSockets {
  const { clientTurns, routes, responses, bodies, clock, listening, logger } = options;
  const connections = new Set<Connection>();
  const recent = createRecentTurns(recentBytes);
  let isDraining = false;
  const drain = createDrain(clock);

  function end(connection: Connection): void {
    connection.isEnding = true;
    if (!connection.isBusy) connection.socket.close(goingAway, 'The gateway is stopping.');
  }

  function accept(socket: WebSocket, { clientId, affinityKey, requestId, wire }: SocketConnection): void {
    const connection: Connection = {
      socket,
      clientId,
      abort: new AbortController(),
      isBusy: false,
      isEnding: false,
      lastHeardAt: listening.now(),
      lastPingAt: listening.now(),
    };
    const waiting: Waiting[] = [];
    /** What has arrived of the next message. */
    let arriving = bodies.begin(clientId);
    let isExpired = false;
    let count = 0;
    if (isDraining) {
      end(connection);
      return;
    }
    connections.add(connection);

    const cancelExpiry = clock.after(lifetimeMs, () => {
      isExpired = true;
      if (!connection.isBusy) expire();
    });
    function expire(): void {
      const error = new AppError(
        'websocket_connection_limit_reached',
        'A connection lasts 60 minutes at most: open a new one to go on.',
      );
      sendErrorFrame(socket, error);
      socket.close(1000, 'The connection lasted 60 minutes.');
    }

    socket.on('pong', (data: Buffer) => {
      connection.lastHeardAt = listening.now();
      arriving.add(-data.length);
    });
    socket.on('ping', (data: Buffer) => arriving.add(-data.length));
    // Before the frames in it are read.
    wire.prependListener('data', (chunk: Buffer) => {
      try {
        arriving.add(chunk.length);
      } catch (error) {
        // The rest of a message cannot be skipped.
        sendErrorFrame(socket, appErrorFrom(error));
        socket.close(tryAgainLater, 'The gateway has as many large requests as it can hold.');
        socket.terminate();
      }
    });
    socket.on('close', () => {
      cancelExpiry();
      for (const { held } of waiting.splice(0)) held.release();
      arriving.release();
      recent.forget(connection);
      connection.abort.abort(new AppError('cancelled', 'The client left.'));
      connections.delete(connection);
      if (connections.size === 0) drain.allOver();
    });
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      connection.lastHeardAt = listening.now();
      const held = arriving;
      arriving = bodies.begin(clientId);
      const refuseIt = (error: unknown): void => {
        held.release();
        refuse(AppError.from(error));
      };
      try {
        const read = readMessage(data, isBinary);
        if (!(read instanceof Promise)) {
          take(read, held);
          return;
        }
        // No other message is to overtake it.
        socket.pause();
        read
          .then((message) => take(message, held))
          .catch(refuseIt)
          .finally(() => socket.resume());
      } catch (error) {
        refuseIt(error);
      }
    });

    /** Throws AppError where there is no room for another one. */
    function take(message: SocketMessage, held: HeldBody): void {
      // The connection may have closed while a large message was read: nothing would release it later.
      if (connection.abort.signal.aborted) {
        held.release();
        return;
      }
      const waitingBytes = waiting.reduce((sum, { held: { bytes } }) => sum + bytes, held.bytes);
      if (waiting.length >= maxWaiting || waitingBytes > maxWaitingBytes) {
        throw new AppError(
          'key_rate_limited',
          'Too many requests wait on this connection: send the next one when a response has ended.',
        );
      }
      waiting.push({ message, held });
      if (!connection.isBusy) void work();
    }

    /** A client that does not read its answers is not read either meanwhile: the answers would pile up here. */
    function refuse(error: AppError): void {
      sendErrorFrame(socket, error);
      if (socket.isPaused || !wire.writableNeedDrain) return;
      socket.pause();
      void hasTaken(wire).then(() => socket.resume());
    }

    /** One turn after another, in the order they came, each once the client has taken what was said before. */
    async function work(): Promise<void> {
      connection.isBusy = true;
      for (;;) {
        const next = connection.isEnding || isExpired ? undefined : waiting.shift();
        if (next === undefined) break;
        await answer(next);
        next.held.release();
        await hasTaken(wire);
      }
      connection.isBusy = false;
      if (connection.isEnding) end(connection);
      else if (isExpired) expire();
    }

    async function answer({ message, held }: Waiting): Promise<void> {
      const { type: _type, stream_id: streamId, generate, ...fields } = message;
      count += 1;
      const turnId = `${requestId}.${count}`;
      const label = streamId ?? undefined;
      let isGood = false;
      try {
        if (fields.background) {
          const reason = 'background: works with POST /v1/responses only: leave it out.';
          throw new AppError('invalid_request', reason, { param: 'background' });
        }
        const body = { ...fields, stream: true };
        const request = await readResponsesRequest(responses, clientId, body, held, (id) => {
          return recent.find(connection, id)?.continued;
        });
        clientTurns.check(request.decoded);
        const done = (response: Record<string, unknown>, { answeredBy }: AnswerIdentity): void => {
          if (response['status'] === 'failed') return;
          isGood = true;
          remember(request, response, held.bytes, answeredBy);
        };
        if (generate === false) {
          await routes.check(request.decoded.request.model);
          prepare(request, turnId, label, done);
        } else await run(request, held.bytes, turnId, label, done);
      } catch (thrown) {
        const error = appErrorFrom(thrown);
        if (error.code === 'internal') {
          logger.error({ err: thrown, request_id: turnId }, 'a request over a WebSocket failed');
        }
        sendErrorFrame(socket, error, label);
      }
      // What a failed turn went on from is in doubt: the client sends the whole conversation again.
      if (!isGood && fields['previous_response_id']) recent.forget(connection);
    }

    async function run(
      { decoded }: ReadRequest,
      bytes: number,
      turnId: string,
      streamId: string | undefined,
      onEnd: SocketTurn['onEnd'],
    ): Promise<void> {
      const times = { startedAt: clock.now(), now: clock.now };
      const headFor = answerHeads(createResponsesInbound(), decoded, turnId, times);
      await clientTurns.run({
        protocol: 'responses',
        decoded,
        bytes,
        clientId,
        affinityKey,
        requestId: turnId,
        wantsUsage: true,
        output: createSocketOutput({ socket, wire, options: decoded.options, headFor, streamId, onEnd }),
        signal: connection.abort.signal,
        status: () => 101,
      });
      connection.lastHeardAt = listening.now();
    }

    /** Takes a request in without an answer of the model: the next one goes on from it. */
    function prepare(
      { decoded }: ReadRequest,
      turnId: string,
      streamId: string | undefined,
      onEnd: SocketTurn['onEnd'],
    ): void {
      const { identity } = answerHeads(createResponsesInbound(), decoded, turnId, {
        startedAt: clock.now(),
        now: clock.now,
      })();
      const events = createResponseEvents(identity, decoded.options, {
        emit: (_type, json) => sendLabelled(socket, json, labelOf(streamId)),
        onEnd: (response) => onEnd(response, identity),
      });
      events.prepare();
    }

    function remember(
      { asked, before, decoded }: ReadRequest,
      response: Record<string, unknown>,
      /** Of the request with all it continues. */
      bytes: number,
      answeredBy: string | undefined,
    ): void {
      const { input } = decoded.options;
      const isStored = asked.store !== false;
      const { ancestors, base } = before;
      if (isStored) responses.save(clientId, { response, input, ancestors, base, answeredBy });
      const id = String(response['id']);
      const all = bytes + JSON.stringify(response['output']).length;
      recent.put(connection, { id, continued: continuedBy(before, { response, input }, isStored, all) });
    }
  }

  return {
    get turnCount() {
      return [...connections].filter(({ isBusy }) => isBusy).length;
    },

    checkRoom(clientId) {
      if (isDraining) {
        const reason = 'The gateway is stopping; try again in a moment.';
        throw new AppError('shutting_down', reason, { retryAfterMs: 5_000 });
      }
      const ofClient = [...connections].filter((connection) => connection.clientId === clientId).length;
      if (connections.size < maxSockets && ofClient < maxSocketsOfClient) return;
      throw new AppError(
        'key_rate_limited',
        'Too many WebSockets are open: use those, or POST /v1/responses.',
        {
          retryAfterMs: 10_000,
        },
      );
    },

    accept,

    tick(now) {
      for (const connection of connections) {
        const { socket } = connection;
        if (now - connection.lastHeardAt >= silentAfterMs) socket.terminate();
        else if (now - connection.lastPingAt >= pingEveryMs) {
          connection.lastPingAt = now;
          socket.ping();
        }
      }
    },

    async drain(deadlineMs) {
      isDraining = true;
      for (const connection of connections) end(connection);
      if (connections.size === 0) return;
      await drain.wait(
        deadlineMs,
        (error) => {
          for (const { abort } of connections) abort.abort(error);
        },
        () => {
          for (const { socket } of connections) socket.terminate();
        },
      );
    },
  };
}

/** Resolves when what was written has left for the client, or the client has. */
async function hasTaken(wire: Socket): Promise<void> {
  if (!wire.writableNeedDrain) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      wire.off('drain', done);
      wire.off('close', done);
      resolve();
    };
    wire.on('drain', done);
    wire.on('close', done);
  });
}
