import { constants } from 'node:http2';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { RunningCall } from '../../core/provider.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { createNetwork, type Network } from '../../lib/network/network.ts';
import { noProxies } from '../../lib/network/proxy-rules.ts';
import { type Certificate, makeCertificate, trust } from '../../lib/network/testing/certificate.ts';
import { type H2Call, type H2Server, startH2Server } from '../../lib/network/testing/h2-server.ts';
import { watchObjects } from '../../lib/process/testing/collected.ts';
import { lineOutbound } from '../testing/fake-upstream.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { callUpstream } from './upstream.ts';

let certificate: Certificate;
let clock: ManualClock;
let network: Network;
let h2: H2Server;

beforeAll(async () => {
  certificate = await makeCertificate();
  return trust(certificate);
});
beforeEach(async () => {
  clock = createManualClock();
  network = createNetwork({ proxies: noProxies, clock, userAgent: 'warp2api/test' });
  h2 = await startH2Server(certificate);
});
afterEach(async () => {
  network.close();
  await h2.close();
});

function start(body?: () => Buffer) {
  const events: TurnEvent[] = [];
  const ended = Promise.withResolvers<TurnEvent>();
  const closed = Promise.withResolvers<void>();
  const request = { model: 'auto', messages: [], limits: {}, sampling: {} };
  const answer = lineOutbound.open({ request } as unknown as Parameters<typeof lineOutbound.open>[0]);
  const call: RunningCall = callUpstream({
    dispatcher: network.dispatcher,
    baseUrl: h2.url,
    needsHttp2: true,
    outbound: lineOutbound,
    answer: { ...answer, request: { ...answer.request, body: body?.() ?? answer.request.body } },
    authHeaders: { authorization: 'Bearer secret' },
    userAgent: 'warp2api/test',
    timeouts: { firstEventMs: 30_000, idleMs: 60_000 },
    now: clock.now,
    listener: {
      onEvents(batch) {
        events.push(...batch);
        const last = batch.at(-1);
        if (last?.type === 'finish' || last?.type === 'error') ended.resolve(last);
        return true;
      },
      onClosed: closed.resolve,
    },
  });
  return { call, events, ended: ended.promise, closed: closed.promise };
}

function say({ stream }: H2Call, ...commands: string[]): void {
  if (!stream.headersSent) stream.respond({ ':status': 200, 'content-type': 'text/lines' });
  stream.write(commands.map((command) => `${command}\n`).join(''));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

const isEnd = ({ type }: TurnEvent): boolean => type === 'finish' || type === 'error';

it('carries a turn, and its headers name who asks and nothing of the connection', async () => {
  h2.answer = (call) => {
    say(call, 'say hello', 'end');
    call.stream.end();
  };
  const { ended, closed, events } = start();
  expect((await ended).type).toBe('finish');
  await closed;
  expect(events.filter(isEnd).length).toBe(1);
  expect(h2.calls[0]?.headers).toMatchObject({
    authorization: 'Bearer secret',
    'user-agent': 'warp2api/test',
  });
});

it('does not hold what it has sent while the answer goes on', async () => {
  h2.answer = (call) => say(call, 'say hello');
  const sent = watchObjects();
  const { closed, events } = start(() => {
    const bytes = Buffer.from(JSON.stringify({ model: 'auto', prompt: 'long '.repeat(40_000) }));
    sent.add(bytes);
    return bytes;
  });
  await until(() => events.length > 0);
  await sent.gone(1);
  h2.calls[0]?.stream.end('end\n');
  await closed;
  expect(events.filter(isEnd).length).toBe(1);
});

it.each<[string, (call: H2Call) => void, string, string]>([
  ['is reset', ({ stream }) => stream.destroy(new Error('fault')), 'upstream_unavailable', 'network'],
  ['is reset without an error', ({ stream }) => stream.destroy(), 'upstream_unavailable', 'network'],
  ['loses its session', ({ stream }) => stream.session?.destroy(), 'upstream_unavailable', 'network'],
  ['loses its socket', ({ stream }) => stream.session?.socket.destroy(), 'upstream_unavailable', 'network'],
  [
    'is on a session that goes away in anger',
    ({ stream }) => stream.session?.goaway(constants.NGHTTP2_INTERNAL_ERROR, 1),
    'upstream_unavailable',
    'network',
  ],
  ['ends without its end mark', ({ stream }) => stream.end(), 'upstream_protocol', 'upstream'],
])(
  'a turn that %s after content ends in one error, never in a short success',
  async (_how, fault, code, whose) => {
    h2.answer = (call) => say(call, 'say hello');
    const started = start();
    await until(() => started.events.length > 0);
    fault(h2.calls[0] as H2Call);
    expect(await started.ended).toMatchObject({ type: 'error', error: { code, fault: whose } });
    await started.closed;
    expect(started.events.filter(isEnd).length).toBe(1);
    expect(started.call.isTaken).toBe(true);
  },
);

it('is resent, and no account hears of it, where the session says that it was not processed', async () => {
  h2.answer = (call) => {
    say(call, 'say hello', 'end');
    call.stream.end();
  };
  await start().ended;
  const [session] = h2.sessions;
  // The first stream was the last one that counts.
  session?.goaway(constants.NGHTTP2_NO_ERROR, 1);
  const started = start();
  expect((await started.ended).type).toBe('finish');
  expect(h2.sessions.length).toBe(2);
});

it('cuts its own stream off when the client leaves', async () => {
  h2.answer = (call) => say(call, 'say hello');
  const leaving = start();
  const staying = start();
  await until(() => leaving.events.length > 0 && staying.events.length > 0);
  leaving.call.abort(new AppError('cancelled', 'left'));
  await leaving.closed;
  await until(() => h2.calls.some(({ stream }) => stream.destroyed));
  const open = h2.calls.find(({ stream }) => !stream.destroyed);
  say(open as H2Call, 'end');
  expect((await staying.ended).type).toBe('finish');
  expect([h2.sessions.length, h2.sessions[0]?.destroyed]).toEqual([1, false]);
});
