/**
 * The least a gateway in Node can cost: raw sockets on both sides, the project's own parsing and encoding between
 * them, and nothing else: no keys, leases, routes, logs, limits, time-outs or second tries.
 * `node bench/floor.ts UPSTREAM_URL`
 */
import { randomUUID } from 'node:crypto';
import net, { type Socket } from 'node:net';
import type { CollectedTurn } from '../src/core/protocol.ts';
import type { TurnEvent, TurnRequest, Usage } from '../src/core/turn.ts';
import { openaiChatInbound } from '../src/protocols/openai-chat/inbound.ts';
import { createWarpOutbound } from '../src/protocols/warp/outbound.ts';
import { createHttpReader, statusOf } from './http-reader.ts';
import { listen } from './listening.ts';

const upstream = new URL(process.argv[2] ?? '');
const outbound = createWarpOutbound();

/** An answer under way on a connection to the upstream. */
interface Answer {
  onStatus(status: number): void;
  onBody(piece: Buffer): void;
  /** After all of one read was given. */
  onReadEnd(): void;
}

interface Connection {
  readonly socket: Socket;
  answer: Answer | undefined;
}

const idle: Connection[] = [];

function connect(): Connection {
  const socket = net.connect({ host: upstream.hostname, port: Number(upstream.port), noDelay: true });
  const connection: Connection = { socket, answer: undefined };
  let isComplete = false;
  const read = createHttpReader({
    onHead: (head) => connection.answer?.onStatus(statusOf(head)),
    onBody: (piece) => connection.answer?.onBody(piece),
    onEnd() {
      isComplete = true;
    },
  });
  socket.on('data', (bytes) => {
    read(bytes);
    connection.answer?.onReadEnd();
    if (!isComplete) return;
    isComplete = false;
    connection.answer = undefined;
    idle.push(connection);
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    const index = idle.indexOf(connection);
    if (index !== -1) idle.splice(index, 1);
  });
  return connection;
}

function answerTurn(client: Socket, body: Buffer): void {
  const decoded = openaiChatInbound.decode(JSON.parse(body.toString()));
  const { request, decoder } = outbound.open({ request: decoded.request as TurnRequest });
  const identity = {
    id: openaiChatInbound.idPrefix + randomUUID(),
    created: Math.floor(Date.now() / 1000),
    model: decoded.request.model,
    now: Date.now,
  };
  const write = decoded.isStream
    ? streamTo(client, openaiChatInbound.streamEncoder(identity, decoded.options))
    : collectFor(client, (turn) => openaiChatInbound.encodeAnswer(identity, turn, decoded.options));

  const connection = idle.pop() ?? connect();
  let events: TurnEvent[] = [];
  connection.answer = {
    onStatus(status) {
      if (status !== 200) client.destroy(new Error(`the upstream answered ${status}`));
    },
    onBody(piece) {
      events.push(...decoder.push(piece));
    },
    onReadEnd() {
      if (events.length > 0) write(events);
      events = [];
    },
  };
  const headers = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head =
    `${request.method} ${request.path} HTTP/1.1\r\nhost: ${upstream.host}\r\nauthorization: Bearer wk-floor\r\n` +
    `${headers.join('')}content-length: ${request.body.length}\r\n\r\n`;
  connection.socket.write(Buffer.concat([Buffer.from(head, 'latin1'), request.body]));
}

/** One write for each read of the upstream. */
function streamTo(
  client: Socket,
  encoder: ReturnType<typeof openaiChatInbound.streamEncoder>,
): (events: readonly TurnEvent[]) => void {
  let head =
    'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n';
  return (events) => {
    const text = encoder.encode(events);
    const last = events.at(-1)?.type;
    const chunk = text === '' ? '' : `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
    const end = last === 'finish' || last === 'error' ? '0\r\n\r\n' : '';
    if (chunk === '' && end === '') return;
    client.write(head + chunk + end);
    head = '';
  };
}

function collectFor(
  client: Socket,
  encode: (turn: CollectedTurn) => string,
): (events: readonly TurnEvent[]) => void {
  let text = '';
  let usage: Usage | undefined;
  return (events) => {
    for (const event of events) {
      if (event.type === 'text-delta') text += event.text;
      else if (event.type === 'usage') usage = event.usage;
      else if (event.type === 'error') client.destroy(event.error);
      else if (event.type === 'finish') {
        const body = encode({ text, reasoning: '', toolCalls: [], usage, finishReason: event.reason });
        client.write(
          `HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
        );
      }
    }
  };
}

const server = net.createServer({ noDelay: true }, (client) => {
  let pieces: Buffer[] = [];
  const read = createHttpReader({
    onHead() {},
    onBody: (piece) => pieces.push(piece),
    onEnd() {
      const [first] = pieces;
      answerTurn(client, pieces.length === 1 && first ? first : Buffer.concat(pieces));
      pieces = [];
    },
  });
  client.on('data', read);
  client.on('error', () => {});
});
listen(server, 'floor');
