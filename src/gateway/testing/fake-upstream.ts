import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import type { Outbound, TurnDecoder } from '../../core/protocol.ts';
import type { UpstreamProvider } from '../../core/provider.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { standIns } from '../../providers/warp/models.ts';

/** An upstream on this machine whose every answer a test writes by hand. */
export interface FakeUpstream {
  readonly url: string;
  readonly calls: UpstreamCallSeen[];
  /** How the next calls are answered; the index counts from 0. */
  answer: (call: UpstreamCallSeen, index: number) => void;
  /** Connections whose other end is still there. */
  readonly open: number;
  close(): Promise<void>;
}

export interface UpstreamCallSeen {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly bearer: string;
  readonly body: LineRequest;
  /** Resolves when our side has ended the exchange or cut it. */
  readonly closed: Promise<void>;
}

/** What the line protocol sends up. */
export interface LineRequest {
  readonly model: string;
  readonly prompt: string;
  /** What the conversation's memory said, as text. */
  readonly memory?: string;
}

export async function startFakeUpstream(): Promise<FakeUpstream> {
  const calls: UpstreamCallSeen[] = [];
  let open = 0;
  const server = createServer(async (request, response) => {
    open += 1;
    const closed = new Promise<void>((resolve) => response.once('close', resolve));
    void closed.then(() => {
      open -= 1;
    });
    const bytes = await buffer(request).catch(() => undefined);
    // The gateway has left, or the test has ended.
    if (bytes === undefined) return;
    const body = JSON.parse(bytes.toString()) as LineRequest;
    const bearer = request.headers.authorization?.replace('Bearer ', '') ?? '';
    const call = { request, response, bearer, body, closed };
    calls.push(call);
    upstream.answer(call, calls.length - 1);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const upstream: FakeUpstream = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    answer: (call) => lines(call, 'say hello', 'end'),
    get open() {
      return open;
    },
    async close() {
      const done = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await done;
    },
  };
  return upstream;
}

/** Begins a good answer and writes lines of the protocol. */
export function say({ response }: UpstreamCallSeen, ...commands: string[]): void {
  if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/lines' });
  response.write(commands.map((command) => `${command}\n`).join(''));
}

/** A whole answer at once. */
export function lines(call: UpstreamCallSeen, ...commands: string[]): void {
  say(call, ...commands);
  call.response.end();
}

export function refuse({ response }: UpstreamCallSeen, status: number, body = ''): void {
  response.writeHead(status, { 'content-type': 'text/plain' });
  response.end(body);
}

const statusCodes: Record<number, ErrorCode> = {
  400: 'invalid_request',
  401: 'upstream_unauthorized',
  403: 'upstream_refused',
  404: 'model_not_found',
  429: 'upstream_rate_limited',
  402: 'upstream_quota_exhausted',
  529: 'model_unavailable',
};

/**
 * The least a protocol can be: a command a line. `say`, `think`, `call`, `arguments` (more of the last call's), `usage IN OUT CREDITS`, `error CODE`, `end REASON WORD`,
 * `outdated`.
 * Its memory is the prompt it was made with.
 */
export const lineOutbound: Outbound = {
  contentType: 'text/lines',
  images: { maxCount: 20 },
  hasMemory: true,
  capabilities: new Set(['topP', 'presencePenalty', 'frequencyPenalty'] as const),
  open({ request, remembered }) {
    const last = (remembered?.newMessages ?? request.messages).at(-1);
    const prompt = last?.parts.map((part) => (part.type === 'text' ? part.text : '')).join('') ?? '';
    if (prompt === 'unspeakable') throw new AppError('invalid_request', 'No.', { param: 'messages' });
    const body: LineRequest = {
      model: request.model,
      prompt,
      ...(remembered ? { memory: Buffer.from(remembered.memory).toString() } : {}),
    };
    return {
      request: {
        method: 'POST',
        path: '/answer',
        headers: { 'content-type': 'application/json' },
        body: Buffer.from(JSON.stringify(body)),
      },
      decoder: createLineDecoder(`memory of ${prompt}`),
    };
  },
  classifyFailure({ status, body }) {
    const text = Buffer.from(body).toString();
    return new AppError(statusCodes[status] ?? 'upstream_unavailable', `status ${status}`, {
      cause: `${body.length} ${text.slice(0, 20)}`,
      ...(status === 429 ? { retryAfterMs: 7_000 } : {}),
      ...(status === 404 ? { fault: 'model', failover: 'yes' } : {}),
    });
  },
};

function createLineDecoder(memory: string): TurnDecoder {
  let rest = '';
  let isOver = false;
  let isGood = false;
  let isModelListOutdated = false;
  let calls = 0;

  function read(line: string): TurnEvent[] {
    const [command = '', ...words] = line.split(' ');
    const text = words.join(' ');
    switch (command) {
      case 'start':
        return [{ type: 'start' }];
      case 'say':
        return [{ type: 'text-delta', text }];
      case 'think':
        return [{ type: 'reasoning-delta', text }];
      case 'call':
        calls += 1;
        return [
          { type: 'tool-call-start', index: calls - 1, id: `call-${calls}`, name: words[0] ?? '' },
          { type: 'tool-call-delta', index: calls - 1, arguments: words.slice(1).join(' ') },
          { type: 'tool-call-end', index: calls - 1 },
        ];
      case 'arguments':
        return [{ type: 'tool-call-delta', index: calls - 1, arguments: text }];
      case 'usage':
        return [
          {
            type: 'usage',
            usage: {
              inputTokens: Number(words[0]),
              outputTokens: Number(words[1]),
              ...(words[2] === undefined ? {} : { credits: Number(words[2]) }),
            },
          },
        ];
      case 'error':
        isOver = true;
        return [{ type: 'error', error: new AppError(words[0] as ErrorCode, `the upstream said ${text}`) }];
      case 'end':
        isOver = true;
        isGood = true;
        return [
          {
            type: 'finish',
            reason: words[0] === 'tools' ? 'tool-calls' : 'stop',
            ...(words[1] === undefined ? {} : { upstreamReason: words[1] }),
          },
        ];
      case 'outdated':
        isModelListOutdated = true;
        return [];
      case 'throw':
        throw new Error('a decoder must not throw');
      default:
        return [];
    }
  }

  return {
    push(bytes) {
      rest += Buffer.from(bytes).toString();
      const whole = rest.split('\n');
      rest = whole.pop() ?? '';
      const events: TurnEvent[] = [];
      for (const line of whole) if (!isOver) events.push(...read(line));
      return events;
    },
    end: () => [],
    get isModelListOutdated() {
      return isModelListOutdated;
    },
    memory: () => (isGood ? Buffer.from(memory) : undefined),
  };
}

export function createLineProvider(baseUrl: () => string, name = 'warp'): UpstreamProvider {
  return {
    name,
    outbound: lineOutbound,
    baseUrl,
    authHeaders: ({ bearer }) => ({ authorization: `Bearer ${bearer}` }),
    normalizeApiKey: (key) => key,
    listModels: async () => [{ id: 'auto' }, { id: 'big', displayName: 'Big', contextWindow: 1000 }],
    standIns,
    ...(name === 'sandbox' && { systemFingerprint: 'warp2api-sandbox' }),
    fallbackModels: [{ id: 'auto' }],
    getQuota: async () => ({ isUnlimited: true }),
  };
}
