import { readdirSync, readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { zstdCompressSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventFeed } from '../../lib/api/event-streams.ts';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import { ClientKeys } from '../keys/client-key.ts';
import { lines, refuse, say } from '../testing/fake-upstream.ts';
import { settled } from '../testing/manual-clock.ts';
import {
  createTurnFixture,
  noLimits,
  quietKeep,
  silentLogger,
  type TurnFixture,
  until,
} from '../testing/turn-fixture.ts';
import type { Load } from '../turn/admission.ts';
import { createGatewayServer } from './server.ts';

let fixture: TurnFixture;
let server: FastifyInstance;
let port: number;

beforeEach(async () => {
  fixture = await createTurnFixture({ fast: 'big', 'team-*': 'big' });
  fixture.pool.add('one');
  await serve();
});
afterEach(async () => {
  server.server.closeAllConnections();
  await Promise.all([server.close(), advanceUntilClosed()]);
  await fixture.close();
});

async function serve(
  change: {
    bodiesMaxBytes?: number;
    apiKeys?: string[];
    allowedHosts?: string[] | null;
    corsOrigins?: string[];
    readLoad?: () => Load;
  } = {},
): Promise<void> {
  server = createGatewayServer({
    facts: async () => expect.unreachable(),
    pool: undefined as never,
    dependencies: fixture.turns,
    apiKeys: change.apiKeys ?? [],
    managedKeys: undefined as never,
    providerNames: [],
    limits: noLimits,
    poolWatch: fixture.poolWatch,
    responses: undefined as never,
    store: undefined as never,
    keep: quietKeep,
    database: { isReachable: true, isShared: false },
    usage: { ask: () => expect.unreachable() },
    bodies: new BodyBudget(320 * 1024 * 1024),
    isPoolInside: true,
    adminKey: undefined,
    poolDoor: () => expect.unreachable(),
    live: { feed: new EventFeed() },
    allowedHosts: change.allowedHosts ?? null,
    ...(change.corsOrigins ? { corsOrigins: change.corsOrigins } : {}),
    ...(change.readLoad ? { readLoad: change.readLoad } : {}),
    shutdownMs: 5_000,
    logger: silentLogger,
  });
  await server.listen({ port: 0, host: '127.0.0.1' });
  port = (server.server.address() as AddressInfo).port;
}

async function advanceUntilClosed(): Promise<void> {
  await fixture.clock.advance(6_000);
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers are checked by what they hold
  readonly json: any;
}

interface Exchange {
  readonly answer: Promise<Answer>;
  /** Chunks as they came, once the headers are there. */
  readonly chunks: string[];
  readonly head: Promise<IncomingMessage>;
  leave(): void;
}

function send(
  method: string,
  path: string,
  options: { body?: unknown; headers?: Record<string, string> } = {},
): Exchange {
  const head = Promise.withResolvers<IncomingMessage>();
  const answer = Promise.withResolvers<Answer>();
  // A test that looks at one of them only must not be blamed for the other's failure.
  head.promise.catch(() => {});
  answer.promise.catch(() => {});
  const chunks: string[] = [];
  const { body } = options;
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  const request = httpRequest({
    port,
    host: '127.0.0.1',
    method,
    path,
    agent: false,
    headers: {
      ...(text === ''
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      ...options.headers,
    },
  });
  request.on('response', (response) => {
    head.resolve(response);
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => chunks.push(chunk));
    response.on('error', answer.reject);
    response.on('end', () => {
      const whole = chunks.join('');
      const { headers, statusCode: status = 0 } = response;
      const isJson = headers['content-type']?.startsWith('application/json');
      answer.resolve({ status, headers, text: whole, json: isJson ? JSON.parse(whole) : undefined });
    });
  });
  request.on('error', (error) => {
    answer.reject(error);
    head.reject(error);
  });
  request.end(text);
  return { answer: answer.promise, chunks, head: head.promise, leave: () => request.destroy() };
}

const hi = [{ role: 'user', content: 'hi' }];
const chat = (change: object = {}, headers?: Record<string, string>) =>
  send('POST', '/v1/chat/completions', {
    body: { model: 'auto', messages: hi, ...change },
    ...(headers ? { headers } : {}),
  });

/** An answer of 12 MB, more than the system's buffers take, whose turn is over and whose client has not begun to read. */
async function unreadAnswer(): Promise<{ resume(): void; size: Promise<number> }> {
  fixture.upstream.answer = (call) =>
    lines(call, ...Array.from({ length: 400 }, () => `say ${'x'.repeat(30_000)}`), 'usage 1 1', 'end');
  const socket = connect(port, '127.0.0.1');
  const body = JSON.stringify({ model: 'auto', messages: hi });
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  socket.pause();
  const before = fixture.pool.reports.length;
  await until(() => fixture.upstream.calls.length > 0);
  await fixture.upstream.calls.at(-1)?.closed;
  // The gateway may still be reading when the upstream is done.
  while (fixture.pool.reports.length === before) await fixture.clock.advance(100);
  let size = 0;
  socket.on('data', (chunk) => {
    size += chunk.length;
  });
  const ended = new Promise<number>((resolve) => socket.on('close', () => resolve(size)));
  return { resume: () => socket.resume(), size: ended };
}

/** The data lines of a stream, parsed. */
function dataOf(text: string): unknown[] {
  return text
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => (event === 'data: [DONE]' ? '[DONE]' : JSON.parse(event.slice(6))));
}

describe('an answer that is not streamed', () => {
  it('comes whole, with its usage, as JSON of a known length', async () => {
    fixture.upstream.answer = (call) => lines(call, 'say hel', 'say lo', 'usage 3 2', 'end');
    const { status, headers, json, text } = await chat().answer;
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('application/json; charset=utf-8');
    expect(headers['content-length']).toBe(String(Buffer.byteLength(text)));
    expect(headers).not.toHaveProperty('x-warp2api-usage');
    expect(json).toMatchObject({
      object: 'chat.completion',
      model: 'auto',
      choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    });
  });

  it('marks usage that was counted here', async () => {
    const { headers, json } = await chat().answer;
    expect(headers['x-warp2api-usage']).toBe('estimated');
    expect(json.usage.completion_tokens).toBe(1);
  });

  it('marks usage that was counted here although the upstream told its charge', async () => {
    fixture.upstream.answer = (call) => lines(call, 'say hello', 'usage 0 0 1.5', 'end');
    const { headers, json } = await chat().answer;
    expect(headers['x-warp2api-usage']).toBe('estimated');
    expect(json.usage).toMatchObject({ prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 });
  });

  it('carries tool calls and reasoning', async () => {
    fixture.upstream.answer = (call) => lines(call, 'think hm', 'call read {"a":1}', 'end tools');
    const tools = [{ type: 'function', function: { name: 'read' } }];
    const { json } = await chat({ tools }).answer;
    expect(json.choices[0]).toMatchObject({
      message: {
        content: null,
        reasoning_content: 'hm',
        tool_calls: [{ id: 'call-1', type: 'function', function: { name: 'read', arguments: '{"a":1}' } }],
      },
      finish_reason: 'tool_calls',
    });
  });

  it('has all arguments of a call that came piece by piece', async () => {
    fixture.upstream.answer = (call) => {
      say(call, 'call read {"a":');
      void until(() => fixture.turns.running.callCount === 1)
        .then(settled)
        .then(() => say(call, 'arguments 1'))
        .then(settled)
        .then(() => lines(call, 'arguments }', 'end tools'));
    };
    const { json } = await chat().answer;
    expect(json.choices[0].message.tool_calls[0].function.arguments).toBe('{"a":1}');
  });

  it('shows nothing of an attempt that broke off', async () => {
    fixture.pool.add('two');
    fixture.upstream.answer = (call, index) =>
      index === 0 ? lines(call, 'say wrong', 'call read {}') : lines(call, 'say right', 'end');
    const { answer } = chat();
    await until(() => [...fixture.turns.records.newest()][0]?.attempts[0]?.outcome !== undefined);
    // The second attempt follows after a pause.
    await fixture.clock.advance(1_000);
    const { json } = await answer;
    expect(json.choices[0].message).toMatchObject({ content: 'right' });
    expect(json.choices[0].message).not.toHaveProperty('tool_calls');
  });
});

describe('a streamed answer', () => {
  it('is chunks and [DONE], with usage in a last chunk when it was asked for', async () => {
    fixture.upstream.answer = (call) => lines(call, 'say hello', 'usage 3 2', 'end');
    const { headers, text } = await chat({ stream: true, stream_options: { include_usage: true } }).answer;
    expect(headers['content-type']).toBe('text/event-stream; charset=utf-8');
    const data = dataOf(text);
    expect(data.at(-1)).toBe('[DONE]');
    expect(data.at(-2)).toMatchObject({ choices: [], usage: { prompt_tokens: 3 } });
    expect(data.length).toBe(5);
  });

  it('writes all events of one read at once', async () => {
    fixture.upstream.answer = (call) => {
      say(call, 'say a', 'say b', 'say c');
      void until(() => exchange.chunks.length > 0).then(() => lines(call, 'end'));
    };
    const exchange = chat({ stream: true });
    await exchange.answer;
    expect(exchange.chunks.length).toBe(2);
    expect(dataOf(exchange.chunks[0] ?? '').length).toBe(4);
  });

  it('has no head before there is content', async () => {
    fixture.upstream.answer = (call) => {
      say(call, 'start');
      void until(() => fixture.turns.running.callCount === 1)
        .then(settled)
        .then(() => refuseLate());
      const refuseLate = () => lines(call, 'error upstream_rate_limited');
    };
    const { status, headers, json } = await chat({ stream: true }).answer;
    expect(status).toBe(429);
    expect(headers['content-type']).toBe('application/json; charset=utf-8');
    expect(json.error).toMatchObject({ type: 'rate_limit_error', code: 'rate_limit_exceeded' });
  });

  it('that has no content for fifteen seconds begins all the same and is kept alive by comments', async () => {
    fixture.upstream.answer = () => {};
    const exchange = chat({ stream: true });
    await until(() => fixture.upstream.calls.length === 1);
    await fixture.clock.advance(14_000);
    let hasHead = false;
    void exchange.head.then(() => {
      hasHead = true;
    });
    await settled();
    expect(hasHead).toBe(false);
    await fixture.clock.advance(2_000);
    expect((await exchange.head).statusCode).toBe(200);
    await until(() => exchange.chunks.length === 1);
    await fixture.clock.advance(10_000);
    expect(exchange.chunks.length).toBe(1);
    const [call] = fixture.upstream.calls;
    if (call) say(call, 'start');
    await settled();
    await fixture.clock.advance(6_000);
    await until(() => exchange.chunks.length === 2);
    expect(exchange.chunks).toEqual([': keep-alive\n\n', ': keep-alive\n\n']);
    if (call) lines(call, 'say hello', 'end');
    const { text } = await exchange.answer;
    expect(dataOf(text).at(-1)).toBe('[DONE]');
  });

  it('that is held until it is checked is kept alive all the same, also while it is mended', async () => {
    fixture.upstream.answer = () => {};
    const exchange = chat({ stream: true, response_format: { type: 'json_object' } });
    await until(() => fixture.upstream.calls.length === 1);
    const [first] = fixture.upstream.calls;
    if (first) say(first, 'say no ');
    await settled();
    await fixture.clock.advance(16_000);
    await until(() => exchange.chunks.length === 1);
    if (first) lines(first, 'say JSON', 'end');
    await until(() => fixture.upstream.calls.length === 2);
    await fixture.clock.advance(16_000);
    await until(() => exchange.chunks.length === 2);
    expect(exchange.chunks).toEqual([': keep-alive\n\n', ': keep-alive\n\n']);
    const second = fixture.upstream.calls[1];
    if (second) lines(second, 'say {"a":', 'say 1}', 'end');
    const { text } = await exchange.answer;
    expect(text).not.toContain('JSON');
    expect(text).toContain(String.raw`{\"a\":1}`);
    expect(dataOf(text).at(-1)).toBe('[DONE]');
  });

  it('that has begun without content still changes to another account, and ends with an error event', async () => {
    fixture.pool.add('two');
    fixture.upstream.answer = () => {};
    const exchange = chat({ stream: true });
    await until(() => fixture.upstream.calls.length === 1);
    await fixture.clock.advance(16_000);
    await exchange.head;
    fixture.upstream.calls[0]?.response.destroy();
    await until(() => fixture.upstream.calls.length === 2);
    const second = fixture.upstream.calls[1];
    if (second) refuse(second, 400);
    const { text } = await exchange.answer;
    expect(dataOf(text)).toMatchObject([{ error: { type: 'invalid_request_error' } }]);
    expect(text).not.toContain('[DONE]');
  });

  it('that breaks after content ends with an error event and no [DONE]', async () => {
    fixture.upstream.answer = (call) => {
      say(call, 'say hel');
      void until(() => exchange.chunks.length > 0).then(() => call.response.destroy());
    };
    const exchange = chat({ stream: true });
    const { status, text } = await exchange.answer;
    expect(status).toBe(200);
    expect(dataOf(text).at(-1)).toMatchObject({ error: { code: 'upstream_unavailable', param: null } });
    expect(text).not.toContain('[DONE]');
    expect(text).not.toContain('"finish_reason":"');
  });

  it('is cancelled upstream as soon as the client leaves', async () => {
    fixture.upstream.answer = (call) => say(call, 'say hello');
    const exchange = chat({ stream: true });
    await until(() => exchange.chunks.length > 0);
    exchange.leave();
    await fixture.upstream.calls[0]?.closed;
    await until(() => fixture.turns.running.callCount === 0);
    await fixture.clock.advance(1_100);
    expect(fixture.pool.reports).toMatchObject([{ outcome: 'cancelled' }]);
  });

  it('stops reading the upstream while its client does not read', async () => {
    // Three bytes a character: an answer may have 40 million characters.
    const line = `say ${'€'.repeat(16_667)}`;
    let written = 0;
    fixture.upstream.answer = (call) => {
      say(call, line);
      const pump = () => {
        for (let isRoom = true; isRoom && written < 900; written += 1) {
          isRoom = call.response.write(Buffer.from(`${line}\n`));
        }
        if (written < 900) call.response.once('drain', pump);
        else call.response.end('end\n');
      };
      pump();
    };
    const socket = connect(port, '127.0.0.1');
    const body = JSON.stringify({ model: 'auto', messages: hi, stream: true });
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    socket.pause();
    await until(() => written > 0);
    let before = -1;
    while (before !== written) {
      before = written;
      for (let turn = 0; turn < 500; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(written).toBeLessThan(800);
    let size = 0;
    let end = '';
    socket.on('data', (chunk) => {
      size += chunk.length;
      end = (end + chunk.toString()).slice(-40);
    });
    socket.resume();
    // It goes on also where Node does not say that the client has caught up, at the next tick.
    for (let seen = -1; !socket.closed; seen = size) {
      for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      if (seen === size) await fixture.clock.advance(500);
    }
    expect(size).toBeGreaterThan(900 * 50_000);
    expect(end).toContain('[DONE]');
  });
});

describe('an error before content', () => {
  it('says when to try again', async () => {
    fixture.upstream.answer = (call) => refuse(call, 429);
    const { status, headers } = await chat({ stream: true }).answer;
    expect([status, headers['retry-after']]).toEqual([429, '7']);
    expect(headers).not.toHaveProperty('x-should-retry');
  });

  it('tells clients not to repeat what a spent quota refused', async () => {
    fixture.upstream.answer = (call) => refuse(call, 402);
    const { status, headers, json } = await chat().answer;
    expect([status, headers['x-should-retry']]).toEqual([429, 'false']);
    expect(json.error.code).toBe('insufficient_quota');
  });

  it('of the pool is a 503 with a time to come back', async () => {
    fixture.pool.isAway = true;
    const { status, headers, json } = await chat().answer;
    expect([status, json.error.code, headers['retry-after']]).toEqual([503, 'pool_unavailable', '5']);
  });

  it('of the service itself shows nothing of its inside', async () => {
    const { routes } = fixture.turns;
    const planNow = () => {
      throw new Error('secret path /etc');
    };
    Object.assign(routes, { planNow, plan: async () => planNow() });
    const { status, text, json } = await chat().answer;
    expect([status, json.error.code]).toEqual([500, 'internal_error']);
    expect(text).not.toContain('secret');
  });
});

describe('the head of every answer', () => {
  it("has the request id, the client's own if it is a decent one", async () => {
    const paths: [string, string, unknown?][] = [
      ['GET', '/health'],
      ['GET', '/v1/models'],
      ['GET', '/v1/models/nothing-like-it'],
      ['GET', '/nothing'],
      ['DELETE', '/v1/chat/completions'],
      ['POST', '/v1/chat/completions', '{"model":'],
      ['POST', '/v1/chat/completions', {}],
      ['POST', '/v1/chat/completions', { model: 'auto', messages: hi }],
      ['POST', '/v1/chat/completions', { model: 'auto', messages: hi, stream: true }],
      ['GET', '/v1/models/%E0%A4%A'],
      ['GET', `/v1/models/${'x'.repeat(5_000)}`],
    ];
    for (const [method, path, body] of paths) {
      const own = await send(method, path, { body, headers: { 'x-request-id': 'mine-1' } }).answer;
      expect([path, own.headers['x-request-id']]).toEqual([path, 'mine-1']);
      const made = await send(method, path, { body, headers: { 'x-request-id': 'no good' } }).answer;
      expect(made.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
      expect(made.headers['content-type']).toMatch(/^(application\/json|text\/event-stream)/);
      if (made.status >= 400)
        expect(Object.keys(made.json.error)).toEqual(['message', 'type', 'param', 'code']);
    }
  });

  it('names what was ignored, in characters a header may hold', async () => {
    const odd = {
      temperature: 0.5,
      seed: 7,
      reasoning_effort: 'high',
      verbosity: 'low',
      'bad\r\nname: x': 1,
      user: 'me',
      metadata: {},
      tools: [{ type: 'function', function: { name: 'read', strict: true } }],
    };
    const names = 'temperature, seed, reasoning_effort, verbosity, bad__name__x, user, tools.function.strict';
    const { status, headers } = await chat(odd).answer;
    expect(status).toBe(200);
    expect(headers['x-warp2api-ignored']).toBe(names);
    const stream = await chat({ ...odd, stream: true }).answer;
    expect(stream.headers['x-warp2api-ignored']).toBe(names);
  });
});

it('names what was ignored as the dialect spells it', async () => {
  const { status, headers } = await send('POST', '/v1/messages', {
    body: {
      model: 'auto',
      max_tokens: 100,
      messages: hi,
      output_config: { effort: 'high' },
      thinking: { type: 'enabled', budget_tokens: 2048 },
      top_k: 5,
    },
  }).answer;
  expect(status).toBe(200);
  expect(headers['x-warp2api-ignored']).toBe('output_config.effort, thinking.budget_tokens, top_k');
});

describe('a request that is refused', () => {
  it('because its JSON is broken says so', async () => {
    const { status, json } = await send('POST', '/v1/chat/completions', { body: '{"model": "a",' }).answer;
    expect([status, json.error.type]).toEqual([400, 'invalid_request_error']);
    expect(json.error.message).toContain('JSON');
  });

  it('because it has no body says what to send', async () => {
    const { status, json } = await send('POST', '/v1/chat/completions').answer;
    expect([status, json.error.message]).toEqual([400, expect.stringContaining('messages')]);
  });

  it('is read as JSON whatever content type it has', async () => {
    for (const type of [
      'text/plain',
      'application/json; charset=utf-8',
      'nonsense',
      'application/x-www-form-urlencoded',
    ]) {
      expect((await chat({}, { 'content-type': type }).answer).status).toBe(200);
    }
  });

  it('because it is compressed in an unknown way says how to send it', async () => {
    const { status, json } = await chat({}, { 'content-encoding': 'compress' }).answer;
    expect([status, json.error.message]).toEqual([415, expect.stringContaining('zstd, gzip')]);
  });

  it.each([[true], [false]])(
    'because it is too large hears so, and not of a broken connection (length told: %s)',
    async (hasLength) => {
      const answer = Promise.withResolvers<Answer['status']>();
      const request = httpRequest({
        port,
        host: '127.0.0.1',
        method: 'POST',
        path: '/v1/chat/completions',
        agent: false,
        headers: hasLength ? { 'content-length': 50_000_000 } : { 'transfer-encoding': 'chunked' },
      });
      request.on('response', (response) => {
        response.resume();
        response.on('end', () => answer.resolve(response.statusCode ?? 0));
      });
      request.on('error', answer.reject);
      request.end(Buffer.alloc(50_000_000, ' '));
      expect(await answer.promise).toBe(413);
      expect((await chat().answer).status).toBe(200);
    },
  );

  it('because there is nothing there, or not for this method', async () => {
    expect((await send('GET', '/v2/nothing').answer).status).toBe(404);
    const { status, headers } = await send('GET', '/v1/chat/completions').answer;
    expect([status, headers['allow']]).toEqual([405, 'POST']);
  });

  it.each([
    ['GARBAGE\r\n\r\n', 400],
    [`GET /health HTTP/1.1\r\nhost: localhost\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
  ])('because it is no HTTP (%#) has an id and the body every error has', async (text, status) => {
    const socket = connect(port, '127.0.0.1');
    socket.write(text);
    const answer = await new Promise<string>((resolve) => {
      let all = '';
      socket.on('data', (chunk) => {
        all += chunk;
      });
      socket.on('close', () => resolve(all));
    });
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(head).toMatch(/\r\nx-request-id: [0-9a-f-]{36}\r\n/);
    expect(JSON.parse(body).error).toMatchObject({ type: 'invalid_request_error', param: null });
  });

  it('because the model is unknown names what is near', async () => {
    const { status, json } = await chat({ model: 'bigg' }).answer;
    expect([status, json.error.code, json.error.param]).toEqual([404, 'model_not_found', 'model']);
    expect(json.error.message).toContain('"big"');
  });
});

describe('keys', () => {
  beforeEach(async () => {
    await server.close();
    await serve({ apiKeys: ['right-key', 'other-key'] });
  });

  it.each([
    ['Bearer right-key', {}],
    ['bearer   other-key ', {}],
    [undefined, { 'x-api-key': 'right-key' }],
    ['Basic abc', { 'x-api-key': 'right-key' }],
    ['Bearer', { 'x-api-key': 'right-key' }],
    ['Bearer placeholder', { 'x-api-key': 'right-key' }],
    ['Bearer right-key', { 'x-api-key': 'placeholder' }],
    ['Bearer placeholder', { 'x-goog-api-key': 'right-key', 'api-key': 'wrong' }],
    [undefined, { 'api-key': 'other-key' }],
  ])('let in who shows one (%s)', async (authorization, more) => {
    const headers = { ...(authorization ? { authorization } : {}), ...(more as Record<string, string>) };
    expect((await chat({}, headers).answer).status).toBe(200);
    expect((await send('GET', '/v1/models', { headers }).answer).status).toBe(200);
  });

  it.each([
    [{}],
    [{ authorization: 'Bearer wrong' }],
    [{ authorization: 'Bearer' }],
    [{ authorization: 'right-key' }],
    [{ authorization: 'Bearer right-key2' }],
    [{ 'x-api-key': '' }],
    [{ 'x-api-key': 'wrong' }],
  ])('keep out who does not (%j)', async (headers) => {
    for (const exchange of [
      chat({}, headers as Record<string, string>),
      send('GET', '/v1/models', { headers: headers as Record<string, string> }),
      send('GET', '/v1/models/auto', { headers: headers as Record<string, string> }),
    ]) {
      const { status, json, headers: head } = await exchange.answer;
      expect([status, json.error.code, json.error.type]).toEqual([
        401,
        'invalid_api_key',
        'invalid_request_error',
      ]);
      expect(head['x-request-id']).toBeDefined();
    }
    expect(fixture.upstream.calls.length).toBe(0);
  });

  it.each(['/v1/none', '/v1beta/none', '/v1alpha/none'])(
    'are asked for at %s before its call is',
    async (path) => {
      const headers = { 'x-api-key': 'wrong' };
      expect((await send('GET', path, { headers }).answer).status).toBe(401);
      expect((await send('GET', path, { headers: { 'x-api-key': 'right-key' } }).answer).status).toBe(404);
    },
  );

  it('may be shown in the query, and tell clients apart by the one that is known', async () => {
    expect((await send('GET', '/v1/models?key=right-key').answer).status).toBe(200);
    expect((await send('GET', '/v1/models?key=wrong').answer).status).toBe(401);
    const keys = new ClientKeys({ keys: ['right-key'] });
    const shown = (headers: Record<string, string>, url = '/') => keys.identify({ headers, url }).id;
    expect(shown({ authorization: 'Bearer x', 'x-api-key': 'right-key' })).toBe(shown({}, '/?key=right-key'));
  });

  it.each(['Bearer Bearer right-key', 'bearer  right-key '])('are found in "%s"', (authorization) => {
    const keys = new ClientKeys({ keys: ['right-key'] });
    expect(keys.identify({ headers: { authorization }, url: '/' }).id).toHaveLength(43);
    const wrong = { authorization: authorization.replace('right', 'wrong') };
    expect(() => keys.identify({ headers: wrong, url: '/' })).toThrow(/none of this gateway's API_KEYS/);
  });

  it.each(['right-key', 'Basic cmlnaHQta2V5Og=='])(
    'are said to be in the wrong form in "%s"',
    (authorization) => {
      const identify = () =>
        new ClientKeys({ keys: ['right-key'] }).identify({ headers: { authorization }, url: '/' });
      expect(identify).toThrow(/^The header Authorization is not "Bearer KEY": send one of/);
    },
  );

  it('knows a connection by the key it shows now', () => {
    const keys = new ClientKeys({ keys: ['right-key', 'other-key'] });
    const raw = { socket: {} };
    const shown = (key: string, more = {}) =>
      keys.identify({ headers: { authorization: `Bearer ${key}`, ...more }, url: '/', raw }).id;
    const right = shown('right-key');
    expect(shown('right-key')).toBe(right);
    expect(shown('other-key')).not.toBe(right);
    expect(() => shown('wrong-key')).toThrow('none of');
    expect(shown('right-key')).toBe(right);
    expect(shown('wrong-key', { 'x-api-key': 'right-key' })).toBe(right);
    expect(() => keys.identify({ headers: {}, url: '/', raw })).toThrow('No key');
    expect(() => keys.identify({ headers: {}, url: '/?key=wrong', raw })).toThrow('none of');
  });

  it('are named by the setting that a call needs', () => {
    const keys = new ClientKeys({ keys: ['admin-key'], setting: 'ADMIN_KEY' });
    expect(() => keys.identify({ headers: {}, url: '/' })).toThrow(/send the ADMIN_KEY as/);
    const headers = { authorization: 'Bearer right-key' };
    expect(() => keys.identify({ headers, url: '/' })).toThrow(/The key is not the ADMIN_KEY/);
  });

  it('are looked at before a body is read', async () => {
    const request = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: '/v1/chat/completions' });
    request.setHeader('content-length', 1_000_000);
    request.write('{');
    const status = await new Promise((resolve) => request.on('response', (r) => resolve(r.statusCode)));
    expect(status).toBe(401);
    request.on('error', () => {});
    request.destroy();
  });

  it('are not asked for by /health', async () => {
    expect((await send('GET', '/health').answer).json).toMatchObject({ status: 'ok', sandbox: false });
  });
});

describe('the list of models', () => {
  it("has the provider's models and the aliases with a plain name", async () => {
    const { json } = await send('GET', '/v1/models').answer;
    expect(json.object).toBe('list');
    expect(json.data.map((model: { id: string }) => model.id)).toEqual(['auto', 'big', 'fast']);
    expect(json.data[1]).toEqual({
      id: 'big',
      object: 'model',
      created: 0,
      owned_by: 'warp',
      display_name: 'Big',
      context_window: 1000,
      max_model_len: 1000,
    });
    expect(json.data[2]).toMatchObject({ id: 'fast', alias_of: 'big', context_window: 1000 });
  });

  it('can be read by Codex, which looks for a catalogue in it', async () => {
    const { json } = await send('GET', '/v1/models?client_version=0.169.0').answer;
    expect(json).toMatchObject({ object: 'list', models: [] });
    expect(json.data).toHaveLength(3);
    expect((await send('GET', '/v1/models').answer).json).not.toHaveProperty('models');
  });

  it('has each by its name, and what would be answered although no list names it', async () => {
    expect((await send('GET', '/v1/models/big').answer).json.id).toBe('big');
    expect((await send('GET', '/v1/models/team-a%2Fb').answer).json.id).toBe('team-a/b');
    expect((await send('GET', '/v1/models/team-a/b').answer).json.id).toBe('team-a/b');
    const { status, json } = await send('GET', '/v1/models/none').answer;
    expect([status, json.error.code]).toEqual([404, 'model_not_found']);
  });
});

it('tells its health, degraded while the pool is away', async () => {
  fixture.pool.isAway = true;
  await fixture.clock.advance(5_100);
  expect((await send('GET', '/health').answer).json).toMatchObject({
    status: 'degraded',
    pool: { mode: 'inside', reachable: false },
  });
  fixture.pool.isAway = false;
  await fixture.clock.advance(5_100);
  expect((await send('GET', '/health').answer).json).toMatchObject({ status: 'ok' });
});

it('answers from the sandbox and says so', async () => {
  fixture.pool.accounts.clear();
  fixture.pool.add('box', { provider: 'sandbox' });
  fixture.pool.isSandbox = true;
  await fixture.poolWatch.look();
  expect((await send('GET', '/health').answer).json).toMatchObject({
    sandbox: true,
    notice: expect.any(String),
  });
  expect((await chat({ model: 'anything' }).answer).json).toMatchObject({
    model: 'anything',
    system_fingerprint: 'warp2api-sandbox',
  });
});

describe('a compressed body', () => {
  const compressed = (path: string, body: Buffer, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers: { 'content-encoding': 'zstd', ...headers },
      body: new Uint8Array(body),
    });

  it.each(['/v1/chat/completions', '/v1/messages'])('is read at %s', async (path) => {
    const body = Buffer.from(JSON.stringify({ model: 'auto', messages: hi, max_tokens: 99 }));
    expect((await compressed(path, zstdCompressSync(body))).status).toBe(200);
  });

  it('is refused in the format of the dialect', async () => {
    const broken = await compressed('/v1/messages', Buffer.from('{"model":"auto"}'));
    expect([broken.status, await broken.json()]).toMatchObject([
      400,
      { type: 'error', error: { type: 'invalid_request_error', message: expect.stringContaining('zstd') } },
    ]);
    const bomb = await compressed('/v1/chat/completions', zstdCompressSync(Buffer.alloc(40 * 1024 * 1024)));
    expect([bomb.status, await bomb.json()]).toMatchObject([413, { error: { code: 'request_too_large' } }]);
  });

  it('is not looked at without a key', async () => {
    await server.close();
    await serve({ apiKeys: ['secret'] });
    expect((await compressed('/v1/chat/completions', Buffer.from('no zstd'))).status).toBe(401);
  });
});

describe('host and origin', () => {
  beforeEach(async () => {
    await server.close();
    await serve({ allowedHosts: ['gateway.lan'] });
  });

  it.each([
    [{ host: 'localhost:8018' }, 200],
    [{ host: '[::1]:8018' }, 200],
    [{ host: 'GATEWAY.lan' }, 200],
    [{ host: 'evil.example' }, 403],
    [{ host: 'localhost', origin: 'http://localhost:3000' }, 200],
    [{ host: 'localhost', origin: 'https://evil.example' }, 403],
    [{ host: 'localhost', origin: 'null' }, 403],
  ])('of %j get %i', async (headers, status) => {
    expect(
      (await send('GET', '/v1/models', { headers: headers as Record<string, string> }).answer).status,
    ).toBe(status);
  });

  it('has its own code and message in both dialects', async () => {
    const host = await send('GET', '/v1/models', { headers: { host: 'evil.example' } }).answer;
    expect(host.json.error).toMatchObject({
      type: 'permission_error',
      code: 'host_not_allowed',
      message: expect.stringContaining('add evil.example to ALLOWED_HOSTS'),
    });
    const origin = await chat({}, { host: 'localhost', origin: 'app://obsidian.md' }).answer;
    expect(origin.json.error).toMatchObject({
      code: 'origin_not_allowed',
      message: expect.stringContaining('add app://obsidian.md to CORS_ORIGINS'),
    });
    const messages = await send('POST', '/v1/messages', { headers: { host: 'localhost', origin: 'null' } })
      .answer;
    expect(messages.json).toMatchObject({
      type: 'error',
      error: { type: 'permission_error', message: expect.stringContaining('null to CORS_ORIGINS') },
    });
  });
});

it('an Expect that Node does not know is passed over', async () => {
  for (const expect_ of ['100-continue', 'nonsense']) {
    expect((await chat({}, { expect: expect_ }).answer).status).toBe(200);
  }
});

it("an Anthropic header does not change OpenAI's words on OpenAI's paths", async () => {
  const headers = { 'anthropic-version': '2023-06-01' };
  const chats = await chat({ messages: 5 }, headers).answer;
  expect([chats.status, chats.json.type, chats.json.error.type]).toEqual([
    400,
    undefined,
    'invalid_request_error',
  ]);
  const models = await send('GET', '/v1/models?limit=x', { headers }).answer;
  expect([models.status, models.json.type]).toEqual([400, 'error']);
});

describe('a path that is not quite right', () => {
  it.each([
    [
      'POST',
      '/chat/completions',
      /^There is nothing at POST \/chat\/completions\. Set .* http:\/\/box:8018\/v1\.$/,
    ],
    ['POST', '/v1/v1/responses', /http:\/\/box:8018\/v1\.$/],
    ['GET', '/nowhere', /OpenAI clients is http:\/\/box:8018\/v1/],
    ['GET', '/api/accounts/acc_1/status', /runs inside/],
  ])("%s %s gets the base URL, in OpenAI's format", async (method, path, message) => {
    const body = method === 'POST' ? { body: '{not even JSON' } : {};
    const { status, json } = await send(method, path, { ...body, headers: { host: 'box:8018' } }).answer;
    expect([status, json]).toEqual([
      404,
      {
        error: {
          type: 'invalid_request_error',
          code: 'not_found',
          param: null,
          message: expect.stringMatching(message),
        },
      },
    ]);
  });

  it("gets the base URL in Anthropic's format", async () => {
    const headers = {
      host: 'internal:8018',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'llm.example',
    };
    for (const path of ['/anthropic/v1/messages', '/v1/v1/messages']) {
      const { status, json } = await send('POST', path, { headers }).answer;
      expect([status, json]).toMatchObject([
        404,
        {
          type: 'error',
          error: { type: 'not_found_error', message: expect.stringMatching(/https:\/\/llm\.example\.$/) },
        },
      ]);
    }
  });

  it.each(['/v1/chat/completions/', '//v1/chat/completions', '/v1//chat/completions?beta=true'])(
    '%s is the path it means',
    async (path) => {
      expect((await send('POST', path, { body: { model: 'auto', messages: hi } }).answer).status).toBe(200);
    },
  );

  it.each([
    ['GET', '/v1/chat/completions', 'POST'],
    ['GET', '/v1/messages', 'POST'],
    ['PUT', '/v1/responses/resp_1', 'GET, DELETE'],
    ['GET', '/v1/responses/compact', 'POST'],
    ['DELETE', '/v1/responses/input_tokens', 'POST'],
    ['PROPFIND', '/v1/messages', 'POST'],
    ['POST', '/v1/models/auto', 'GET'],
    ['DELETE', '/v1/models', 'GET'],
  ])('%s %s has the wrong method, and the answer names the right one', async (method, path, allow) => {
    const { status, headers, text } = await send(method, path).answer;
    expect([status, headers.allow]).toEqual([405, allow]);
    expect(text).toContain(`takes ${allow.replace(', ', ' and ')}, not ${method}`);
  });

  it('is one that HTTP does not know where the method is none', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.write('FROB /v1/messages HTTP/1.1\r\nhost: localhost\r\n\r\n');
    let answer = '';
    for await (const part of socket) answer += part;
    expect(answer).toMatch(/^HTTP\/1\.1 405 [\s\S]*allow: POST\r\n[\s\S]*{"type":"error"/);
  });
});

describe('a page of a listed origin', () => {
  const origin = 'http://localhost:3000';
  const allows = { 'access-control-allow-origin': origin, vary: 'Origin' };

  beforeEach(async () => {
    await server.close();
    await serve({ apiKeys: ['secret'], corsOrigins: [origin] });
  });

  it('may ask before its request without a key', async () => {
    const asked = {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'x-api-key',
    };
    const { status, headers, text } = await send('OPTIONS', '/v1/messages', { headers: asked }).answer;
    expect([status, text]).toEqual([204, '']);
    expect(headers).toMatchObject({
      'access-control-allow-origin': origin,
      'access-control-allow-headers': 'x-api-key',
    });
    const other = await send('OPTIONS', '/v1/messages', {
      headers: { ...asked, origin: 'https://evil.example' },
    }).answer;
    expect([other.status, other.headers['access-control-allow-origin']]).toEqual([403, undefined]);
  });

  it.each([
    ['GET', '/v1/models', {}, 401],
    ['GET', '/nowhere', {}, 404],
    ['GET', '/%zz', {}, 404],
    ['GET', '/v1/messages', { authorization: 'Bearer secret' }, 405],
    ['POST', '/v1/messages', { authorization: 'Bearer secret', 'content-length': '99999999' }, 413],
    ['POST', '/v1/messages', { authorization: 'Bearer secret', 'content-encoding': 'lzma' }, 415],
    ['GET', '/v1/models', { authorization: 'Bearer secret' }, 200],
    ['GET', '/health', {}, 200],
    [
      'GET',
      '/v1/responses',
      {
        connection: 'upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      },
      401,
    ],
  ])('may read the answer of %s %s %j, %i', async (method, path, more, status) => {
    const headers = { origin, ...(more as Record<string, string>) };
    const exchange = send(method, path, { headers });
    const head = await exchange.head;
    exchange.leave();
    expect(head.statusCode).toBe(status);
    expect(head.headers).toMatchObject(allows);
    expect(head.headers['access-control-expose-headers']).toContain('x-request-id');
  });

  it('may read streams and whole answers', async () => {
    for (const stream of [true, false]) {
      const { status, headers } = await chat({ stream }, { origin, authorization: 'Bearer secret' }).answer;
      expect(status).toBe(200);
      expect(headers).toMatchObject(allows);
    }
  });

  it('may read every header that the gateway adds to an answer', () => {
    const names = readdirSync('src', { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
      .flatMap((file) => readFileSync(`src/${file}`, 'utf8').match(/x-warp2api-[a-z-]+/g) ?? []);
    return chat({}, { origin }).answer.then(({ headers }) => {
      const exposed = headers['access-control-expose-headers'];
      // Those come with requests.
      const asked = new Set(['x-warp2api-delivery', 'x-warp2api-csrf']);
      const answered = new Set(names).difference(asked);
      expect(answered).toContain('x-warp2api-route');
      for (const name of answered) expect(exposed).toContain(name);
    });
  });
});

describe('closing', () => {
  it('lets running turns end and takes no new ones', async () => {
    fixture.upstream.answer = (call) => say(call, 'say hel');
    const exchange = chat({ stream: true });
    await until(() => exchange.chunks.length > 0);
    const closed = server.close();
    await settled();
    const { status, json, headers } = await chat().answer;
    expect([status, json?.error.code]).toEqual([503, 'shutting_down']);
    expect(headers['x-request-id']).toBeDefined();
    const [call] = fixture.upstream.calls;
    if (call) lines(call, 'say lo', 'end');
    expect(dataOf((await exchange.answer).text).at(-1)).toBe('[DONE]');
    await closed;
  });

  it('ends those with an error that are not done in time', async () => {
    fixture.upstream.answer = (call, index) => (index === 0 ? say(call, 'say hel') : undefined);
    const stream = chat({ stream: true });
    await until(() => stream.chunks.length > 0);
    const whole = chat();
    await until(() => fixture.upstream.calls.length === 2);
    const closed = server.close();
    await settled();
    await fixture.clock.advance(5_100);
    expect(dataOf((await stream.answer).text).at(-1)).toMatchObject({ error: { code: 'shutting_down' } });
    expect(await whole.answer).toMatchObject({ status: 503, json: { error: { code: 'shutting_down' } } });
    await closed;
    await Promise.all(fixture.upstream.calls.map((call) => call.closed));
    expect(fixture.pool.reports).toEqual([]);
  });

  it('waits for a slow client to take what was written, and no longer than it reads', async () => {
    const slow = await unreadAnswer();
    const closed = server.close();
    await settled();
    slow.resume();
    expect(await slow.size).toBeGreaterThan(12_000_000);
    await closed;
  });

  it('cuts a client that takes nothing once the time is over', async () => {
    await unreadAnswer();
    const closed = server.close();
    await settled();
    await fixture.clock.advance(6_100);
    await closed;
  });

  it('does not wait for a client that left', async () => {
    fixture.upstream.answer = () => {};
    const exchange = chat();
    await until(() => fixture.upstream.calls.length === 1);
    const closed = server.close();
    await settled();
    exchange.leave();
    await closed;
  });
});

it('cuts a client that takes nothing for five minutes, and gives its account back', async () => {
  fixture.upstream.answer = (call) => {
    const pump = () => {
      while (call.response.write(`say ${'x'.repeat(50_000)}\n`));
      call.response.once('drain', pump);
    };
    say(call, 'say hello');
    pump();
  };
  const socket = connect(port, '127.0.0.1');
  const body = JSON.stringify({ model: 'auto', messages: hi, stream: true });
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  socket.pause();
  await until(() => fixture.upstream.calls.length === 1);
  for (let turn = 0; turn < 3_000; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  await fixture.clock.advance(250_000);
  expect(fixture.turns.running.callCount).toBe(1);
  await fixture.clock.advance(60_000);
  await fixture.upstream.calls[0]?.closed;
  await fixture.clock.advance(2_000);
  expect(fixture.pool.reports).toMatchObject([{ outcome: 'cancelled' }]);
  socket.destroy();
});

it('outlives a client that breaks off in the middle of its request, and logs no error', async () => {
  const errors = vi.spyOn(silentLogger, 'error');
  const socket = connect(port, '127.0.0.1');
  socket.write('POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{"mod');
  await settled();
  socket.resetAndDestroy();
  await settled();
  expect((await chat().answer).status).toBe(200);
  expect(errors).not.toHaveBeenCalled();
});

describe('a gateway with more work than it can do', () => {
  const idle: Load = { delayMs: 1, heapShare: 0.1 };
  let load: Load;
  beforeEach(async () => {
    load = idle;
    server.server.closeAllConnections();
    await Promise.all([server.close(), advanceUntilClosed()]);
    await serve({ readLoad: () => load });
    fixture.upstream.answer = (call) => lines(call, 'say hi', 'end');
  });
  const status = async () => (await chat().answer).status;
  const health = async () => (await send('GET', '/health').answer).json;

  it.each([
    ['event_loop', { delayMs: 501, heapShare: 0.1 }, { delayMs: 201, heapShare: 0.1 }],
    ['memory', { delayMs: 1, heapShare: 0.93 }, { delayMs: 1, heapShare: 0.81 }],
  ])('refuses new turns once that has lasted, and until it is well over (%s)', async (cause, much, less) => {
    load = much;
    await fixture.clock.advance(1_500);
    expect(await status()).toBe(200);
    await fixture.clock.advance(500);
    const refused = await chat().answer;
    expect(refused.status).toBe(503);
    expect(refused.json.error.code).toBe('overloaded');
    expect(refused.headers['retry-after']).toBe('5');
    expect(await health()).toMatchObject({
      status: 'degraded',
      reason: expect.stringContaining('overloaded'),
      load: { sheds_turns: true },
    });
    load = less;
    await fixture.clock.advance(10_000);
    expect(await status()).toBe(503);
    const figures = (await send('GET', '/metrics').answer).text;
    expect(figures).toContain(`warp2api_gateway_turns_shed_total{cause="${cause}"} 2`);
    expect(figures).toContain('warp2api_gateway_overloaded 1');
    load = idle;
    await fixture.clock.advance(1_500);
    expect(await status()).toBe(503);
    await fixture.clock.advance(500);
    expect(await status()).toBe(200);
    expect(await health()).toMatchObject({
      load: { sheds_turns: false, event_loop_delay_ms: 1, heap_used_percent: 10 },
    });
  });

  it('takes turns through a single long task', async () => {
    load = { delayMs: 5_000, heapShare: 0.1 };
    await fixture.clock.advance(500);
    load = idle;
    await fixture.clock.advance(500);
    load = { delayMs: 5_000, heapShare: 0.1 };
    await fixture.clock.advance(1_500);
    expect(await status()).toBe(200);
  });
});
