import type { Socket } from 'node:net';
import type { WebSocket } from '@fastify/websocket';
import { AppError } from '../../core/errors.ts';
import type { ListeningTime } from '../../lib/clock.ts';
import type { BodyBudget, HeldBody } from '../../lib/http/body-budget.ts';
import type { TraceHeaders } from '../../lib/telemetry/trace-headers.ts';
import { createResponsesInbound } from '../../protocols/openai-responses/inbound.ts';
import type { RawItem } from '../../protocols/openai-responses/schema.ts';
import type { ClientKey } from '../keys/client-key.ts';
import type { Routes } from '../models/routing.ts';
import { AnswerHead } from '../output/answer-head.ts';
import { appErrorFrom } from '../turn/app-errors.ts';
import { type AdmittedTurn, type AskedTurn, gatewayStopping } from '../turn/client-turns.ts';
import { type Carrier, TurnSignal } from '../turn/running-turns.ts';
import type { BackgroundResponsesOptions } from './background-responses.ts';
import {
  type ReadRequest,
  readMessage,
  readResponsesRequest,
  type SocketMessage,
} from './responses-request.ts';
import { hasTaken, SocketOutput, sendErrorFrame } from './socket-output.ts';
import { createRecentTurns, type RecentTurns } from './stored-responses.ts';

export interface ResponsesSocketsOptions extends Omit<BackgroundResponsesOptions, 'routes'> {
  readonly routes: Pick<Routes, 'check'>;
  readonly bodies: BodyBudget;
  readonly listening: ListeningTime;
}

export interface SocketClient {
  readonly client: ClientKey;
  readonly affinityKey: string | undefined;
  readonly trace?: TraceHeaders | undefined;
  readonly requestId: string;
  readonly wire: Socket;
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
const goingAway = 1001;
const policyViolation = 1008;
const tryAgainLater = 1013;

/** Clients that hold a WebSocket open and send one request after another over it. */
export class ResponsesSockets {
  readonly #options: ResponsesSocketsOptions;
  readonly #connections = new Set<Connection>();
  readonly #recent = createRecentTurns();
  #isClosing = false;

  constructor(options: ResponsesSocketsOptions) {
    this.#options = options;
  }

  /** Throws AppError when there is no room for another connection of that client. */
  checkRoom(clientId: string): void {
    if (this.#isClosing) throw gatewayStopping();
    const ofClient = [...this.#connections].filter((connection) => connection.client.id === clientId).length;
    if (this.#connections.size < maxSockets && ofClient < maxSocketsOfClient) return;
    const reason = 'Too many WebSockets are open: use those, or POST /v1/responses.';
    throw new AppError('key_rate_limited', reason, { retryAfterMs: 10_000 });
  }

  accept(socket: WebSocket, client: SocketClient): void {
    if (this.#isClosing) {
      socket.close(goingAway, stopping);
      return;
    }
    const { running } = this.#options;
    const connection = new Connection(this.#options, this.#recent, socket, client);
    this.#connections.add(connection);
    running.add(connection);
    socket.on('close', () => {
      this.#connections.delete(connection);
      running.delete(connection);
    });
  }

  /** No turn begins any more; connections close after the running one. */
  close(): void {
    this.#isClosing = true;
    for (const connection of this.#connections) connection.end();
  }
}

const stopping = 'The gateway is stopping.';
const keyRefused = 'The key is not good any more.';

/** One WebSocket, whose requests are answered one after another in the order they came. */
class Connection implements Carrier {
  readonly isStream = true;
  /** As its key was when the last request began. */
  client: ClientKey;
  readonly #options: ResponsesSocketsOptions;
  readonly #recent: RecentTurns;
  readonly #socket: WebSocket;
  readonly #client: SocketClient;
  readonly #signal = new TurnSignal();
  readonly #waiting: Waiting[] = [];
  readonly #cancelExpiry: () => void;
  /** What has arrived of the next message. */
  #arriving: HeldBody;
  #isBusy = false;
  #isEnding = false;
  #isExpired = false;
  /** Why no turn begins any more: the key is good no longer. */
  #refusal: AppError | undefined;
  #turns = 0;
  #lastHeardAt: number;
  #lastPingAt: number;

  constructor(
    options: ResponsesSocketsOptions,
    recent: RecentTurns,
    socket: WebSocket,
    client: SocketClient,
  ) {
    this.#options = options;
    this.#recent = recent;
    this.#socket = socket;
    this.#client = client;
    this.client = client.client;
    this.#arriving = options.bodies.begin(client.client.id);
    this.#lastHeardAt = options.listening.now();
    this.#lastPingAt = this.#lastHeardAt;
    this.#cancelExpiry = options.clock.after(lifetimeMs, () => {
      this.#isExpired = true;
      if (!this.#isBusy) this.#expire();
    });
    socket.on('pong', (data: Buffer) => {
      this.#heard();
      this.#arriving.add(-data.length);
    });
    socket.on('ping', (data: Buffer) => this.#arriving.add(-data.length));
    socket.on('close', () => this.#closed());
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#read(data, isBinary));
    // Before the frames in it are read.
    client.wire.prependListener('data', (chunk: Buffer) => this.#countArriving(chunk));
  }

  get clientId(): string {
    return this.client.id;
  }
  get turnCount(): number {
    return this.#isBusy ? 1 : 0;
  }

  tick(now: number): void {
    if (now - this.#lastHeardAt >= silentAfterMs) this.#socket.terminate();
    else if (now - this.#lastPingAt >= pingEveryMs) {
      this.#lastPingAt = now;
      this.#socket.ping();
    }
  }

  abort(error: AppError): void {
    this.#signal.abort(error);
    if (error.code !== 'invalid_key') return;
    this.#refusal = error;
    if (this.#isBusy) return;
    sendErrorFrame(this.#socket, error);
    this.#socket.close(policyViolation, keyRefused);
  }

  cut(): void {
    this.#socket.terminate();
  }

  end(): void {
    this.#isEnding = true;
    if (!this.#isBusy) this.#socket.close(goingAway, stopping);
  }

  #expire(): void {
    const reason = 'A connection lasts 60 minutes at most: open a new one to go on.';
    sendErrorFrame(this.#socket, new AppError('websocket_connection_limit_reached', reason));
    this.#socket.close(1000, 'The connection lasted 60 minutes.');
  }

  #closed(): void {
    this.#cancelExpiry();
    for (const { held } of this.#waiting.splice(0)) held.release();
    this.#arriving.release();
    this.#recent.delete(this);
    this.abort(new AppError('cancelled', 'The client left.'));
  }

  #heard(): void {
    this.#lastHeardAt = this.#options.listening.now();
  }

  #countArriving(chunk: Buffer): void {
    try {
      this.#arriving.add(chunk.length);
    } catch (error) {
      // The rest of a message cannot be skipped.
      sendErrorFrame(this.#socket, appErrorFrom(error));
      this.#socket.close(tryAgainLater, 'The gateway has as many large requests as it can hold.');
      this.#socket.terminate();
    }
  }

  #read(data: Buffer, isBinary: boolean): void {
    this.#heard();
    const held = this.#arriving;
    this.#arriving = this.#options.bodies.begin(this.client.id);
    const refuse = (error: unknown): void => {
      held.release();
      this.#refuse(AppError.from(error));
    };
    try {
      const read = readMessage(data, isBinary);
      if (!(read instanceof Promise)) {
        this.#take(read, held);
        return;
      }
      // No other message is to overtake it.
      this.#socket.pause();
      read
        .then((message) => this.#take(message, held))
        .catch(refuse)
        .finally(() => this.#socket.resume());
    } catch (error) {
      refuse(error);
    }
  }

  /** Throws AppError where there is no room for another one. */
  #take(message: SocketMessage, held: HeldBody): void {
    // The connection may have closed while a large message was read: nothing would release it later.
    if (this.#signal.aborted) {
      held.release();
      return;
    }
    const waiting = this.#waiting;
    const waitingBytes = waiting.reduce((sum, { held: { bytes } }) => sum + bytes, held.bytes);
    if (waiting.length >= maxWaiting || waitingBytes > maxWaitingBytes) {
      throw new AppError(
        'key_rate_limited',
        'Too many requests wait on this connection: send the next one when a response has ended.',
      );
    }
    waiting.push({ message, held });
    if (!this.#isBusy) void this.#work();
  }

  /** A client that does not read its answers is not read either meanwhile: the answers would pile up here. */
  #refuse(error: AppError): void {
    const { wire } = this.#client;
    sendErrorFrame(this.#socket, error);
    if (this.#socket.isPaused || !wire.writableNeedDrain) return;
    this.#socket.pause();
    void hasTaken(wire).then(() => this.#socket.resume());
  }

  /** One turn after another, each once the client has taken what was said before. */
  async #work(): Promise<void> {
    this.#isBusy = true;
    for (;;) {
      const isOver = this.#isEnding || this.#isExpired || this.#refusal;
      const next = isOver ? undefined : this.#waiting.shift();
      if (next === undefined) break;
      await this.#answer(next);
      next.held.release();
      await hasTaken(this.#client.wire);
    }
    this.#isBusy = false;
    if (this.#isEnding) this.end();
    else if (this.#refusal) this.#socket.close(policyViolation, keyRefused);
    else if (this.#isExpired) this.#expire();
  }

  async #answer({ message, held }: Waiting): Promise<void> {
    const { type: _type, stream_id: streamId, generate, ...fields } = message;
    this.#turns += 1;
    const requestId = `${this.#client.requestId}.${this.#turns}`;
    let isGood = false;
    let isNoted = false;
    try {
      this.client = this.#options.keys.renewed(this.client);
      const request = await this.#readRequest(fields, held);
      const { decoded } = request;
      const { clientTurns, routes } = this.#options;
      const { affinityKey, trace } = this.#client;
      const protocol = 'responses';
      const { client } = this;
      const { bytes } = held;
      const asked = { protocol, decoded, client, affinityKey, requestId, bytes, wantsUsage: true } as const;
      let output: SocketOutput;
      if (generate === false) {
        clientTurns.check(decoded);
        output = this.#outputOf(request, asked, streamId);
        await routes.check(decoded.request.model, client);
        output.prepare();
      } else {
        const admitted = await clientTurns.admit(asked);
        output = this.#outputOf(request, admitted, streamId);
        isNoted = true;
        const call = { by: 'websocket', method: 'GET', path: '/v1/responses', trace } as const;
        await clientTurns.run(clientTurns.begin(admitted, call, this.#signal), output);
        this.#heard();
      }
      const { response, answeredBy } = output;
      if (response) {
        isGood = true;
        this.#remember(request, response, held.bytes, answeredBy);
      }
    } catch (thrown) {
      const error = appErrorFrom(thrown);
      if (error.code === 'internal') {
        this.#options.logger.error(
          { err: thrown, request_id: requestId },
          'a request over a WebSocket failed',
        );
      }
      if (!isNoted) {
        const { model } = fields;
        this.#options.clientTurns.refused({
          client: this.client,
          requestId,
          dialect: 'responses',
          model: typeof model === 'string' ? model : undefined,
          isStream: true,
          status: error.status,
          error,
        });
      }
      sendErrorFrame(this.#socket, error, streamId ?? undefined);
    }
    // What a failed turn went on from is in doubt: the client sends the whole conversation again.
    if (!isGood && fields['previous_response_id']) this.#recent.delete(this);
  }

  async #readRequest(
    fields: Omit<SocketMessage, 'type' | 'stream_id' | 'generate'>,
    held: HeldBody,
  ): Promise<ReadRequest> {
    if (fields['background']) {
      const reason = 'background: works with POST /v1/responses only: leave it out.';
      throw new AppError('invalid_request', reason, { param: 'background' });
    }
    const body = { ...fields, stream: true };
    return readResponsesRequest(this.#options.responses, this.client.id, body, held, (id) => {
      const recent = this.#recent.get(this);
      return recent?.id === id ? recent.continued : undefined;
    });
  }

  #outputOf(
    { decoded }: ReadRequest,
    turn: AskedTurn | AdmittedTurn,
    streamId: string | null | undefined,
  ): SocketOutput {
    return new SocketOutput({
      socket: this.#socket,
      wire: this.#client.wire,
      options: decoded.options,
      head: new AnswerHead(createResponsesInbound(), turn, this.#options.clock.now),
      streamId: streamId ?? undefined,
    });
  }

  #remember(
    { asked, before, decoded }: ReadRequest,
    response: Record<string, unknown>,
    /** Of the request with all it continues. */
    bytes: number,
    answeredBy: string | undefined,
  ): void {
    const { input } = decoded.options;
    const { ancestors, base } = before;
    const id = String(response['id']);
    const said = {
      items: [...before.items, ...input, ...(response['output'] as RawItem[])],
      bytes: bytes + JSON.stringify(response['output']).length,
    };
    if (asked.store === false) {
      this.#recent.set(this, { id, continued: { ...said, ancestors: [], base: said.items } });
      return;
    }
    this.#options.responses.save(this.client.id, { response, input, ancestors, base, answeredBy });
    this.#recent.set(this, { id, continued: { ...said, ancestors: [...ancestors, id], base: [] } });
  }
}
