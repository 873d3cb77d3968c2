import { brotliCompressSync, createGzip, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { TurnDecoder } from '../../core/protocol.ts';
import type { RunningCall } from '../../core/provider.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { createNetwork, type Network } from '../../lib/network/network.ts';
import { noProxies } from '../../lib/network/proxy-rules.ts';
import { watchObjects } from '../../lib/process/testing/collected.ts';
import {
  type FakeUpstream,
  lineOutbound,
  lines,
  refuse,
  say,
  startFakeUpstream,
} from '../testing/fake-upstream.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { callUpstream } from './upstream.ts';

let upstream: FakeUpstream;
let network: Network;
let clock: ManualClock;

beforeEach(async () => {
  upstream = await startFakeUpstream();
  clock = createManualClock();
  network = createNetwork({ proxies: noProxies, clock, userAgent: 'warp2api/test' });
});
afterEach(async () => {
  network.close();
  await upstream.close();
});

interface Started {
  readonly call: RunningCall;
  readonly batches: (readonly TurnEvent[])[];
  readonly events: () => TurnEvent[];
  /** Resolves with the terminal event. */
  readonly ended: Promise<TurnEvent>;
  readonly closed: Promise<void>;
}

function start(
  change: {
    origin?: string;
    onBatch?: (events: readonly TurnEvent[]) => boolean;
    decoder?: Partial<TurnDecoder>;
    body?: () => Buffer;
  } = {},
): Started {
  const batches: (readonly TurnEvent[])[] = [];
  const ended = Promise.withResolvers<TurnEvent>();
  const closed = Promise.withResolvers<void>();
  const request = { model: 'auto', messages: [], limits: {}, sampling: {} };
  const answer = lineOutbound.open({ request } as unknown as Parameters<typeof lineOutbound.open>[0]);
  const call = callUpstream({
    dispatcher: network.dispatcher,
    baseUrl: change.origin ?? upstream.url,
    needsHttp2: false,
    outbound: lineOutbound,
    answer: {
      ...answer,
      request: { ...answer.request, body: change.body?.() ?? answer.request.body },
      decoder: { ...answer.decoder, ...change.decoder },
    },
    authHeaders: { authorization: 'Bearer secret' },
    userAgent: 'warp2api/test',
    timeouts: { firstEventMs: 30_000, idleMs: 60_000 },
    now: clock.monotonic,
    listener: {
      onEvents(events) {
        batches.push(events);
        const last = events.at(-1);
        if (last?.type === 'finish' || last?.type === 'error') ended.resolve(last);
        return change.onBatch?.(events) ?? true;
      },
      onClosed: closed.resolve,
    },
  });
  return { call, batches, events: () => batches.flat(), ended: ended.promise, closed: closed.promise };
}

/** Checks the one promise every call makes. */
function expectOneEnd({ events }: Started): void {
  const ends = events().filter(({ type }) => type === 'finish' || type === 'error');
  expect(ends.length).toBe(1);
  expect(events().at(-1)).toBe(ends[0]);
}

async function errorOf(started: Started): Promise<AppError> {
  const last = await started.ended;
  await started.closed;
  expectOneEnd(started);
  if (last.type !== 'error') throw new Error('it ended well');
  return last.error;
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

it('passes a good answer on, one batch a read, and names itself', async () => {
  upstream.answer = (call) => lines(call, 'start', 'say hello', 'usage 1 2', 'end');
  const started = start();
  await started.ended;
  await started.closed;
  expectOneEnd(started);
  expect(started.events().map(({ type }) => type)).toEqual(['start', 'text-delta', 'usage', 'finish']);
  expect(started.batches.length).toBe(1);
  expect(upstream.calls[0]?.request.headers).toMatchObject({
    'user-agent': 'warp2api/test',
    authorization: 'Bearer secret',
  });
});

const compressed = (call: Parameters<typeof lines>[0], coding: string, bytes: Uint8Array, status = 200) =>
  call.response.writeHead(status, { 'content-type': 'text/lines', 'content-encoding': coding }).end(bytes);

it.each([
  ['gzip', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
  ['zstd', zstdCompressSync],
] as const)(
  'reads an answer, or an error, that is compressed without being asked to: %s',
  async (coding, compress) => {
    upstream.answer = (call) => compressed(call, coding, compress('say hello\nend\n'));
    const started = start();
    expect(await started.ended).toEqual({ type: 'finish', reason: 'stop' });
    await started.closed;
    expectOneEnd(started);
    upstream.answer = (call) => compressed(call, coding, compress('no such key'), 401);
    expect(await errorOf(start())).toMatchObject({
      code: 'upstream_unauthorized',
      cause: expect.stringContaining('no such key'),
    });
  },
);

it('reads a compressed answer as it comes', async () => {
  const gzip = createGzip();
  upstream.answer = ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/lines', 'content-encoding': 'gzip' });
    gzip.pipe(response);
    gzip.write('say hello\n');
    gzip.flush();
  };
  const started = start();
  await until(() => started.batches.length === 1);
  gzip.end('end\n');
  await started.closed;
  expectOneEnd(started);
});

it.each([
  ['cut', 'gzip', gzipSync(`say hello\n`.repeat(99)).subarray(0, 30), 'damaged'],
  ['no gzip', 'gzip', Buffer.from('say hello\nend\n'), 'damaged'],
  ['of an unknown kind', 'lzma', Buffer.from('?'), 'lzma'],
])('says what is wrong with a compressed answer that is %s', async (_name, coding, bytes, word) => {
  upstream.answer = (call) => compressed(call, coding, bytes);
  const error = await errorOf(start());
  expect([error.code, error.message]).toEqual(['upstream_protocol', expect.stringContaining(word)]);
});

it('stops reading a compressed answer while the consumer is behind', async () => {
  const text = 'x'.repeat(1_000);
  upstream.answer = (call) => compressed(call, 'gzip', gzipSync(`${`say ${text}\n`.repeat(2_000)}end\n`));
  const started = start({ onBatch: () => false });
  await until(() => started.batches.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(started.batches).toHaveLength(1);
  const going = setInterval(() => started.call.resume(), 1);
  await started.closed;
  clearInterval(going);
  expectOneEnd(started);
  expect(started.events().at(-1)).toEqual({ type: 'finish', reason: 'stop' });
});

it('makes an error of an answer that ends without an end mark', async () => {
  upstream.answer = (call) => lines(call, 'say hello');
  expect((await errorOf(start())).code).toBe('upstream_protocol');
});

it('makes an error of an answer without any event', async () => {
  upstream.answer = (call) => lines(call);
  expect((await errorOf(start())).code).toBe('upstream_protocol');
});

it('makes an error of a connection that breaks in the middle', async () => {
  upstream.answer = (call) => {
    say(call, 'say hello');
    call.response.write('say wor', () => call.response.destroy());
  };
  const started = start();
  expect(await errorOf(started)).toMatchObject({
    code: 'upstream_unavailable',
    message: expect.stringContaining('in the middle'),
  });
  expect(started.call.isTaken).toBe(true);
});

it('makes an error of a connection that breaks before the headers', async () => {
  upstream.answer = ({ request }) => request.socket.resetAndDestroy();
  const started = start();
  expect((await errorOf(started)).code).toBe('upstream_unavailable');
  expect(started.call.isTaken).toBe(true);
});

it('makes an error of a connection nobody takes, which the upstream never heard of', async () => {
  const { url } = upstream;
  await upstream.close();
  const started = start({ origin: url });
  expect((await errorOf(started)).code).toBe('upstream_unavailable');
  expect(started.call.isTaken).toBe(false);
  upstream = await startFakeUpstream();
});

it('hands a failure with its body to the protocol', async () => {
  upstream.answer = (call) => refuse(call, 429, 'slow down');
  const started = start();
  expect(await errorOf(started)).toMatchObject({ code: 'upstream_rate_limited', cause: '9 slow down' });
  expect(started.call.isTaken).toBe(false);
});

it('reads at most 64 KiB of a failure and cuts the rest off', async () => {
  upstream.answer = ({ response }) => {
    response.writeHead(503, { 'content-type': 'text/html' });
    response.write('x'.repeat(5_000_000));
  };
  const started = start();
  expect((await errorOf(started)).cause).toBe(`${64 * 1024} ${'x'.repeat(20)}`);
  await upstream.calls[0]?.closed;
});

it('tells a failure that breaks off by what came of it', async () => {
  upstream.answer = ({ response }) => {
    response.writeHead(429, { 'content-type': 'text/plain' });
    response.write('slow', () => response.destroy());
  };
  // Half an answer is no word about the account.
  expect(await errorOf(start())).toMatchObject({ code: 'upstream_rate_limited', outcome: undefined });
});

it('tells a failure that does not end by what came of it', async () => {
  upstream.answer = ({ response }) => {
    response.writeHead(429, { 'content-type': 'text/plain' });
    response.write('slow');
  };
  const started = start();
  await until(() => upstream.calls.length === 1 && !started.call.isTaken);
  started.call.checkTimeouts(clock.monotonic() + 31_000);
  expect(await errorOf(started)).toMatchObject({ code: 'upstream_rate_limited', outcome: undefined });
  await upstream.calls[0]?.closed;
});

it('takes a 200 of another content type as a failure', async () => {
  upstream.answer = ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<html>log in here</html>');
  };
  expect((await errorOf(start())).message).toBe('status 200');
});

it('takes the content type in any case and with parameters', async () => {
  upstream.answer = ({ response }) => {
    response.writeHead(200, { 'content-type': 'Text/Lines; charset=utf-8' });
    response.end('end\n');
  };
  const started = start();
  expect((await started.ended).type).toBe('finish');
});

it('waits for the answer behind early hints', async () => {
  upstream.answer = (call) => {
    call.response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    lines(call, 'say hello', 'end');
  };
  expect((await start().ended).type).toBe('finish');
});

it('does not hold what it has sent while the answer goes on', async () => {
  upstream.answer = (call) => say(call, 'start', 'say hello');
  const sent = watchObjects();
  const body = (): Buffer => {
    const bytes = Buffer.from(JSON.stringify({ model: 'auto', prompt: 'long '.repeat(40_000) }));
    sent.add(bytes);
    return bytes;
  };
  const started = start({ body });
  await until(() => started.batches.length > 0);
  await sent.gone(1);
  const [call] = upstream.calls;
  if (call) lines(call, 'end');
  await started.closed;
  expectOneEnd(started);
});

it('says nothing after the end mark', async () => {
  upstream.answer = (call) => lines(call, 'end', 'say more', 'error upstream_timeout', 'end');
  const started = start();
  await started.closed;
  expectOneEnd(started);
  expect(started.events()).toEqual([{ type: 'finish', reason: 'stop' }]);
});

it('cuts off an upstream that keeps the connection after its end mark', async () => {
  upstream.answer = (call) => say(call, 'end');
  const started = start();
  await started.ended;
  started.call.checkTimeouts(clock.monotonic() + 1_000);
  expect(upstream.open).toBe(1);
  started.call.checkTimeouts(clock.monotonic() + 3_000);
  await started.closed;
  await upstream.calls[0]?.closed;
  expectOneEnd(started);
});

it('soon ends an answer of which only the end mark is missing', async () => {
  upstream.answer = (call) => say(call, 'say hello');
  const finish: TurnEvent = { type: 'finish', reason: 'stop' };
  const started = start({ decoder: { isWhole: true, end: () => [finish] } });
  await until(() => started.batches.length === 1);
  started.call.checkTimeouts(clock.monotonic() + 1_000);
  expect(upstream.open).toBe(1);
  started.call.checkTimeouts(clock.monotonic() + 3_000);
  await started.closed;
  expectOneEnd(started);
  expect(started.events().at(-1)).toBe(finish);
});

it('takes an answer that is whole for one, though the connection breaks behind it', async () => {
  upstream.answer = (call) => {
    say(call, 'say hello');
    call.response.write('say wor', () => call.response.destroy());
  };
  const finish: TurnEvent = { type: 'finish', reason: 'stop' };
  const started = start({ decoder: { isWhole: true, end: () => [finish] } });
  expect(await started.ended).toBe(finish);
  await started.closed;
  expectOneEnd(started);
});

it('gives an answer that is shown at its end up when no more of it comes', async () => {
  let more = () => {};
  upstream.answer = (call) => {
    say(call, 'half');
    more = () => say(call, 'and');
  };
  const reads = { count: 0 };
  const push = () => {
    reads.count += 1;
    return [];
  };
  const started = start({ decoder: { isShownAtEnd: true, push } });
  await until(() => reads.count === 1);
  await clock.advance(50_000);
  started.call.checkTimeouts(clock.monotonic());
  more();
  await until(() => reads.count === 2);
  started.call.checkTimeouts(clock.monotonic() + 59_000);
  expect(upstream.open).toBe(1);
  started.call.checkTimeouts(clock.monotonic() + 61_000);
  const error = await errorOf(started);
  expect([error.code, error.message]).toEqual(['upstream_timeout', expect.stringContaining('in the middle')]);
});

it('ends a call before its headers came', async () => {
  upstream.answer = () => {};
  const started = start();
  await until(() => upstream.calls.length === 1);
  started.call.abort(new AppError('cancelled', 'left'));
  expect((await errorOf(started)).code).toBe('cancelled');
  await upstream.calls[0]?.closed;
});

it('ends a call in the same breath it was begun', async () => {
  const started = start();
  started.call.abort(new AppError('cancelled', 'left'));
  expect((await errorOf(started)).code).toBe('cancelled');
  expect(started.call.isTaken).toBe(false);
});

it('ends a call in the middle of the answer, once, and cuts the upstream off', async () => {
  upstream.answer = (call) => say(call, 'say hello');
  const started = start();
  await until(() => started.batches.length === 1);
  started.call.abort(new AppError('cancelled', 'left'));
  started.call.abort(new AppError('shutting_down', 'again'));
  expect((await errorOf(started)).code).toBe('cancelled');
  await upstream.calls[0]?.closed;
});

it('ends a call silently when the consumer has all it wants', async () => {
  upstream.answer = (call) => say(call, 'say hello');
  const started = start();
  await until(() => started.batches.length === 1);
  started.call.discard();
  await started.closed;
  await upstream.calls[0]?.closed;
  expect(started.events().length).toBe(1);
});

it('gives up on an upstream that does not begin, and on one that falls silent', async () => {
  upstream.answer = (call, index) => (index === 0 ? undefined : say(call, 'say hello'));
  const silent = start();
  await until(() => upstream.calls.length === 1);
  silent.call.checkTimeouts(clock.monotonic() + 29_999);
  silent.call.checkTimeouts(clock.monotonic() + 30_000);
  expect((await errorOf(silent)).code).toBe('upstream_timeout');
  const stuck = start();
  await until(() => stuck.batches.length === 1);
  stuck.call.checkTimeouts(clock.monotonic() + 59_999);
  expect(stuck.events().length).toBe(1);
  stuck.call.checkTimeouts(clock.monotonic() + 60_000);
  expect(await errorOf(stuck)).toMatchObject({
    code: 'upstream_timeout',
    message: expect.stringContaining('60 seconds'),
  });
  await upstream.calls[1]?.closed;
});

it('does not let comments of a silent upstream count as events', async () => {
  upstream.answer = (call) => say(call, 'say hello', 'comment');
  const started = start();
  await until(() => started.batches.length === 1);
  await clock.advance(40_000);
  say(upstream.calls[0] as never, 'comment');
  await clock.advance(20_000);
  started.call.checkTimeouts(clock.monotonic());
  expect((await errorOf(started)).code).toBe('upstream_timeout');
});

it('makes an error of a decoder that throws, and does not wait for the upstream to end', async () => {
  upstream.answer = (call) => say(call, 'throw');
  expect((await errorOf(start())).code).toBe('upstream_protocol');
});

it('stops reading while the consumer is behind, and no time limit runs meanwhile', async () => {
  const line = `say ${'x'.repeat(60_000)}`;
  let written = 0;
  upstream.answer = (call) => {
    say(call, line);
    const pump = () => {
      while (written < 2_000 && call.response.write(`${line}\n`)) written += 1;
      if (written < 2_000) call.response.once('drain', pump);
      else call.response.end('end\n');
    };
    pump();
  };
  let isBehind = true;
  const started = start({ onBatch: () => !isBehind });
  await until(() => started.batches.length > 0);
  let before = -1;
  while (before !== written) {
    before = written;
    for (let turn = 0; turn < 500; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(written).toBeLessThan(1_500);
  started.call.checkTimeouts(clock.monotonic() + 3_600_000);
  expect(started.events().every(({ type }) => type === 'text-delta')).toBe(true);
  isBehind = false;
  started.call.resume();
  expect((await started.ended).type).toBe('finish');
});

it('keeps the path of the server before that of the call', async () => {
  upstream.answer = (call) => lines(call, 'end');
  expect((await start({ origin: `${upstream.url}/prefix` }).ended).type).toBe('finish');
  expect(upstream.calls[0]?.request.url).toBe('/prefix/answer');
});

it('knows what was never sent, and takes a broken transport for a fault of the network', async () => {
  const never = start({ origin: 'http://127.0.0.1:1' });
  expect(await errorOf(never)).toMatchObject({
    code: 'upstream_unavailable',
    fault: 'network',
    message: expect.stringContaining('127.0.0.1:1 cannot be reached (ECONNREFUSED)'),
  });
  expect(never.call.isTaken).toBe(false);
  upstream.answer = (call) => {
    say(call, 'say hello');
    setImmediate(() => call.request.socket.destroy());
  };
  const broken = start();
  expect(await errorOf(broken)).toMatchObject({ code: 'upstream_unavailable', fault: 'network' });
  expect(broken.call.isTaken).toBe(true);
});

it('sends a turn once more where the kept connection closes as it is used again', async () => {
  upstream.answer = (call) => lines(call, 'end');
  await start().ended;
  upstream.answer = (call, index) => (index === 1 ? call.request.socket.destroy() : lines(call, 'end'));
  const started = start();
  expect((await started.ended).type).toBe('finish');
  expectOneEnd(started);
  expect(upstream.calls.length).toBe(3);
});
