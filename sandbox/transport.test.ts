import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { afterEach, describe, expect, test } from 'vitest';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { type Sandbox, type SandboxOptions, startSandbox } from './index.ts';
import { chatRequest, eventsOf, hold } from './raw-client.ts';

let sandbox: Sandbox | undefined;
const sessions: http2.ClientHttp2Session[] = [];
afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  await sandbox?.close();
});

async function start(options: SandboxOptions = {}): Promise<Sandbox> {
  sandbox = await startSandbox({ tls: 'only', ...options });
  return sandbox;
}

function connect({ secureUrl = '', transport }: Sandbox): http2.ClientHttp2Session {
  const session = http2.connect(secureUrl, { ca: transport.certificate ?? '' });
  session.on('error', () => undefined);
  sessions.push(session);
  return session;
}

interface Seen {
  status: number | undefined;
  body: string;
  /** Whether the stream had a proper end. */
  isEnded: boolean;
  rstCode: number | undefined;
  error: string | undefined;
}

function send(
  session: http2.ClientHttp2Session,
  model: string,
  key = 'wk-1',
): { stream: http2.ClientHttp2Stream; seen: Promise<Seen> } {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/ai/multi-agent',
    'content-type': 'application/x-protobuf',
    accept: 'text/event-stream',
    authorization: `Bearer ${key}`,
  });
  const seen: Seen = { status: undefined, body: '', isEnded: false, rstCode: undefined, error: undefined };
  stream.setEncoding('utf8');
  stream.on('response', (headers) => {
    seen.status = headers[':status'];
  });
  stream.on('data', (chunk: string) => {
    seen.body += chunk;
  });
  stream.on('end', () => {
    seen.isEnded = true;
  });
  stream.on('error', (error) => {
    seen.error = error.message;
  });
  stream.end(chatRequest({ model }));
  const over = new Promise<Seen>((resolve) => {
    stream.on('close', () => resolve({ ...seen, rstCode: stream.rstCode }));
  });
  return { stream, seen: over };
}

/** The text of an answer so far, and whether its end mark came. */
function read(body: string): { text: string; isWhole: boolean } {
  const { texts, reason } = hold(eventsOf(body));
  return { text: texts.join(''), isWhole: reason === 2 };
}

const part = 'The first part of an answer';
const whole = 'You said: Hello';
/** An answer that takes a second. */
const paced = { text: expect.stringMatching(/^(token-\d{4} ){200}$/) as string, isWhole: true };

describe('TLS', () => {
  test('speaks h2 and HTTP/1.1 by ALPN with its own certificate', async () => {
    const running = await start();
    const ca = running.transport.certificate ?? '';
    expect(running.url).toBe(running.secureUrl);
    const session = connect(running);
    expect(read((await send(session, 'sandbox').seen).body)).toEqual({ text: whole, isWhole: true });
    expect(session.alpnProtocol).toBe('h2');
    const old = await getOverHttp1(`${running.url}/health`, ca);
    expect(old.status).toBe(200);
    expect(running.turns[0]).toMatchObject({ httpVersion: '2.0', connectionId: 1, problems: [] });
    expect(running.transport.connections.map(({ protocol }) => protocol)).toEqual(['h2', 'http/1.1']);
    await expect(getOverHttp1(`${running.url}/health`, undefined)).rejects.toThrow('self-signed');
  });

  test('may offer h2 alone', async () => {
    const running = await start({ alpn: 'h2' });
    await expect(getOverHttp1(running.url, running.transport.certificate)).rejects.toThrow();
    expect((await send(connect(running), 'sandbox').seen).status).toBe(200);
  });

  test('may offer HTTP/1.1 alone', async () => {
    const running = await start({ alpn: 'http/1.1', requireHttp2: true });
    const ca = running.transport.certificate;
    expect(await getOverHttp1(`${running.url}/health`, ca)).toEqual({ status: 200 });
    expect(await getOverHttp1(`${running.url}/ai/multi-agent`, ca)).toEqual({ status: 403 });
    expect((await send(connect(running), 'sandbox').seen).status).toBeUndefined();
  });

  test('stands beside plain http, as one upstream', async () => {
    const running = await start({ tls: 'beside' });
    await send(connect(running), 'sandbox').seen;
    expect((await fetch(`${running.url}/health`)).status).toBe(200);
    expect(running.url).toMatch(/^http:/);
    expect(running.secureUrl).toMatch(/^https:/);
    expect(running.counts()).toMatchObject({ turns: 1 });
  });

  test('a front that requires h2 answers HTTP/1.1 with its bare page, on /ai/ alone', async () => {
    const running = await start({ tls: 'beside', requireHttp2: true });
    const refused = await fetch(`${running.url}/ai/multi-agent`, { method: 'POST' });
    expect([refused.status, refused.headers.get('via')]).toEqual([403, '1.1 google']);
    expect(refused.headers.get('content-type')).toMatch('text/html');
    expect(await refused.text()).toHaveLength(134);
    expect((await fetch(`${running.url}/graphql/v2`, { method: 'POST' })).status).toBe(401);
    expect((await send(connect(running), 'sandbox').seen).status).toBe(200);
    expect(running.counts().turns).toBe(1);
  });

  test('tells how many streams a session may have, and counts those it had', async () => {
    const running = await start({ maxConcurrentStreams: 3 });
    const session = connect(running);
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    expect(session.remoteSettings.maxConcurrentStreams).toBe(3);
    await Promise.all(Array.from({ length: 8 }, () => send(session, 'sandbox').seen));
    expect(running.transport.stats()).toMatchObject({ connections: 1, h2: 1, mostTurnsOpen: 3 });
    expect(running.transport.connections[0]).toMatchObject({ requests: 8, turns: 8, open: 0 });
  });
});

describe('over h2', () => {
  test.each([
    ['reset-no-error', 0],
    ['reset-cancel', 8],
    ['reset-internal', 2],
    ['reset-calm', 11],
    ['cut', 2],
  ])('%s resets the stream with code %i after the partial text', async (name, code) => {
    const session = connect(await start());
    const other = send(session, 'sandbox-paced');
    const seen = await send(session, `sandbox-${name}`).seen;
    expect(read(seen.body)).toEqual({ text: part, isWhole: false });
    expect(seen.rstCode).toBe(code);
    expect(read((await other.seen).body)).toEqual(paced);
  });

  test('a refused stream has no answer, and the session goes on', async () => {
    const session = connect(await start());
    const seen = await send(session, 'sandbox-refused-stream').seen;
    expect(seen).toMatchObject({ status: undefined, rstCode: 7, body: '' });
    expect((await send(session, 'sandbox').seen).status).toBe(200);
  });

  test('a graceful GOAWAY lets the answer end, and no stream is opened after it', async () => {
    const session = connect(await start());
    const goneAway = new Promise((resolve) => session.once('goaway', resolve));
    expect(read((await send(session, 'sandbox-goaway').seen).body)).toEqual({ text: whole, isWhole: true });
    await goneAway;
    expect(session.closed).toBe(true);
  });

  test('a GOAWAY below a running stream disowns it and leaves the earlier one', async () => {
    const session = connect(await start());
    const first = send(session, 'sandbox-paced');
    const second = await send(session, 'sandbox-goaway-below').seen;
    expect(read(second.body)).toEqual({ text: part, isWhole: false });
    expect(second.rstCode).toBe(7);
    expect(read((await first.seen).body)).toEqual(paced);
  });

  test('a destroyed session ends every turn on it', async () => {
    const running = await start();
    const [session, untouched] = [connect(running), connect(running)];
    const elsewhere = send(untouched, 'sandbox-paced');
    const beside = send(session, 'sandbox-drip');
    const seen = await send(session, 'sandbox-session-destroyed').seen;
    expect(read(seen.body)).toEqual({ text: part, isWhole: false });
    expect(read((await beside.seen).body).isWhole).toBe(false);
    expect(read((await elsewhere.seen).body)).toEqual(paced);
  });

  test('a frozen peer sends nothing more and answers no PING', async () => {
    const running = await start();
    const session = connect(running);
    await send(session, 'sandbox').seen;
    expect(await isAnswered(session)).toBe(true);
    const { stream } = send(session, 'sandbox-frozen');
    const drip = send(session, 'sandbox-drip');
    await new Promise((resolve) => stream.once('data', resolve));
    expect(await isAnswered(session, 300)).toBe(false);
    let isHeard = false;
    drip.stream.on('data', () => {
      isHeard = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(isHeard).toBe(false);
    expect(stream.closed).toBe(false);
  });

  test('a session that is used again is closed, and a fresh one gets the answer', async () => {
    const running = await start();
    const session = connect(running);
    await send(session, 'sandbox').seen;
    const seen = await send(session, 'sandbox-stale').seen;
    expect(seen).toMatchObject({ status: undefined, body: '' });
    expect(read((await send(connect(running), 'sandbox-stale').seen).body)).toEqual({
      text: whole,
      isWhole: true,
    });
  });

  test('a test may destroy a busy session, send GOAWAY, and freeze', async () => {
    const running = await start();
    const session = connect(running);
    expect(running.transport.destroySession()).toBeUndefined();
    const { stream, seen } = send(session, 'sandbox-drip');
    await new Promise((resolve) => stream.once('data', resolve));
    expect(running.transport.destroySession()).toBe(1);
    expect(read((await seen).body).isWhole).toBe(false);
    const next = connect(running);
    await send(next, 'sandbox').seen;
    const goneAway = new Promise((resolve) => next.once('goaway', resolve));
    running.transport.goAway();
    await goneAway;
    const last = connect(running);
    await send(last, 'sandbox').seen;
    running.transport.freeze();
    expect(await isAnswered(last, 300)).toBe(false);
  });
});

describe('the controls over HTTP', () => {
  test('break a session, freeze, tell of both, and make an outage', async () => {
    const running = await start({ tls: 'beside' });
    const control = async (method: string, path: string, body?: object) => {
      const answer = await fetch(`${running.url}/sandbox/${path}`, {
        method,
        ...(body && { body: JSON.stringify(body) }),
      });
      return (await answer.json()) as Record<string, unknown>;
    };
    const session = connect(running);
    const { stream, seen } = send(session, 'sandbox-drip');
    await new Promise((resolve) => stream.once('data', resolve));
    const { id } = running.transport.connections.find(({ protocol }) => protocol === 'h2') ?? { id: 0 };
    expect(await control('GET', 'transport')).toMatchObject({ h2: 1, most_turns_open: 1 });
    expect(await control('POST', 'transport', { action: 'destroy', connection: id })).toEqual({
      connection: id,
    });
    expect(read((await seen).body).isWhole).toBe(false);
    expect(await control('POST', 'scenarios', { account: 'wk-1', scenario: '400' })).toEqual({ ok: true });
    expect((await send(connect(running), 'sandbox').seen).status).toBe(400);
    expect(await control('POST', 'scenarios', { account: 'wk-1', scenario: 'nonsense' })).toHaveProperty(
      'error',
    );
    expect(await control('POST', 'transport', { action: 'outage', seconds: 0.3 })).toEqual({ ok: true });
    const isUp = () =>
      fetch(`${running.url}/health`).then(
        () => true,
        () => false,
      );
    await expect.poll(isUp, { interval: 10 }).toBe(false);
    await expect.poll(isUp, { interval: 10 }).toBe(true);
  });
});

describe('over plain http', () => {
  test('a kept connection is closed as it is used again, a fresh one gets the answer', async () => {
    sandbox = await startSandbox();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    expect((await post(sandbox.url, 'sandbox-stale', agent)).status).toBe(200);
    await expect(post(sandbox.url, 'sandbox-stale', agent)).rejects.toThrow(/hang up|ECONNRESET/);
    const again = await post(sandbox.url, 'sandbox-stale', agent);
    expect(read(again.body)).toEqual({ text: whole, isWhole: true });
    agent.destroy();
  });

  test('an outage refuses connections and ends on the same port', async () => {
    sandbox = await startSandbox({ port: await findFreePort() });
    const { url } = sandbox;
    await sandbox.transport.stopListening();
    await expect(post(url, 'sandbox')).rejects.toThrow('ECONNREFUSED');
    await sandbox.transport.startListening();
    expect((await post(url, 'sandbox')).status).toBe(200);
  });

  test.each(['reset-no-error', 'session-destroyed', 'goaway-below', 'reset-early', 'refused-stream'])(
    '%s breaks the connection off',
    async (name) => {
      sandbox = await startSandbox();
      const answer = await post(sandbox.url, `sandbox-${name}`).catch(() => undefined);
      expect(answer?.isCut ?? true).toBe(true);
    },
  );
});

async function isAnswered(session: http2.ClientHttp2Session, withinMs = 30_000): Promise<boolean> {
  return await new Promise((resolve) => {
    session.ping((error) => resolve(!error));
    setTimeout(() => resolve(false), withinMs).unref();
  });
}

function getOverHttp1(url: string, ca: string | undefined): Promise<{ status: number | undefined }> {
  return new Promise((resolve, reject) => {
    const agent = new https.Agent({ ALPNProtocols: ['http/1.1'], ...(ca !== undefined && { ca }) });
    https
      .get(url, { agent }, (answer) => {
        answer.resume();
        resolve({ status: answer.statusCode });
      })
      .on('error', reject);
  });
}

function post(
  url: string,
  model: string,
  agent?: http.Agent,
): Promise<{ status: number | undefined; body: string; isCut: boolean }> {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/x-protobuf',
      accept: 'text/event-stream',
      authorization: 'Bearer wk-1',
    };
    const request = http.request(
      `${url}/ai/multi-agent`,
      { method: 'POST', headers, agent: agent ?? false },
      (answer) => {
        let body = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => {
          body += chunk;
        });
        answer.on('error', () => undefined);
        answer.on('close', () => resolve({ status: answer.statusCode, body, isCut: !answer.complete }));
      },
    );
    request.on('error', reject);
    request.end(chatRequest({ model }));
  });
}
