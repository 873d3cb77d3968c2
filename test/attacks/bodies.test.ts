import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { keys, useAttackedServices, withKeys } from './attacked-services.ts';
import { headOf, type RawAnswers, sendRaw } from './raw-connection.ts';

/**
 * Large bodies, from callers with and without a key. Work is judged by the processor time the services have spent, not by
 * the time it took: other programs run on the machine.
 */

const services = useAttackedServices(withKeys);

const megabyte = 1024 * 1024;
const chunk = Buffer.alloc(megabyte, '[');
/** Before bodies of no right to be read were left unread, one of them cost 3 to 6 seconds and most of a gigabyte. */
const mostCpuMs = 20_000;
const mostGrowthMb = 300;

interface Attack {
  readonly url: string;
  readonly line: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly megabytes: number;
  readonly body?: (megabytes: number) => Iterable<Buffer>;
}

function* brackets(megabytes: number): Iterable<Buffer> {
  for (let sent = 0; sent < megabytes; sent += 1) yield chunk;
}

function attack({ url, line, headers = {}, megabytes, body = brackets }: Attack): Promise<RawAnswers> {
  const head = headOf(line, {
    host: new URL(url).host,
    'content-type': 'application/json',
    'content-length': String(megabytes * megabyte),
    ...headers,
  });
  return sendRaw({ url, parts: [head, ...body(megabytes)], isStubborn: true, limitMs: 60_000 });
}

/** What the services spent while `/health` was answered, at most, and on all of it, while something went on. */
async function watchHealth(
  during: Promise<unknown>,
): Promise<{ slowest: number; all: number; failures: readonly string[] }> {
  const watcher = new Worker(new URL('health-watcher.ts', import.meta.url), {
    workerData: { url: services.gatewayUrl, pid: services.pid() },
  });
  const told = once(watcher, 'message');
  await during;
  watcher.postMessage('over');
  const [figures] = await told;
  return figures;
}

describe('a body of 12 MB without a key', () => {
  const targets = {
    gateway: [
      ...[
        '/health',
        '/metrics',
        '/docs',
        '/nope',
        '/',
        '/v1',
        '/v1/nope',
        '//v1/chat/completions',
        '/V1/messages',
      ],
      ...[
        '/v1/../nope',
        '/v1/%2e%2e/health',
        '/v1/messages;x',
        '/v1/messages?key=wrong',
        '/v1/responses/one/cancel',
      ],
      ...[
        'http://127.0.0.1/v1/messages',
        'http://elsewhere/health',
        '/v1/messages',
        '/v1/responses/compact',
        '/%zz',
      ],
    ],
    pool: [
      '/health',
      '/nope',
      '/api/accounts',
      '//api/accounts/import',
      '/API/accounts',
      '/api/accounts/import',
    ],
  };

  it('costs neither time nor memory, wherever it is sent', async () => {
    const before = services.cost();
    for (const [service, paths] of Object.entries(targets)) {
      const url = service === 'pool' ? services.poolUrl : services.gatewayUrl;
      const odd = ['PUT', 'GET', 'DELETE', 'PROPFIND', 'QUERY'].map((method) => `${method} ${paths.at(-1)}`);
      const lines = [...paths.map((path) => `POST ${path}`), ...odd];
      const answers = await Promise.all(lines.map((line) => attack({ url, line, megabytes: 12 })));
      for (const [index, { statuses }] of answers.entries()) {
        // Where a connection is cut while its client still sends, the answer may be lost on the way.
        const isRefused = statuses.length <= 1 && (statuses[0] ?? 400) < 500;
        expect([lines[index], statuses, isRefused]).toEqual([lines[index], statuses, true]);
      }
    }
    const after = services.cost();
    expect(after.cpuMs - before.cpuMs).toBeLessThan(mostCpuMs);
    expect(after.peakMb - before.peakMb).toBeLessThan(mostGrowthMb);
  });
});

describe('a connection without a key', () => {
  it('that is full of requests keeps no other one waiting', async () => {
    const url = services.gatewayUrl;
    const { host } = new URL(url);
    const lines = ['GET /health', 'GET /openapi.json', 'GET /docs', 'GET /v1/models', 'POST /nope', 'FOO /'];
    const before = services.cost();
    await Promise.all(
      lines.map((line) => {
        const request = headOf(line, { host });
        const many = Buffer.from(request.repeat(Math.floor((4 * megabyte) / request.length)));
        return sendRaw({ url, parts: [many], isEnough: () => false, limitMs: 2_000 });
      }),
    );
    const after = services.cost();
    const health = await sendRaw({ url, parts: [headOf('GET /health', { host })] });
    expect(health.statuses).toEqual([200]);
    expect(after.peakMb - before.peakMb).toBeLessThan(mostGrowthMb);
  });
});

describe('bodies of 31 MB with a key', () => {
  const fields = Array.from({ length: 1_000_000 }, (_, index) => `"field${index}":1`);
  const manyFields = Buffer.from(`{"model":"none","messages":[],${fields.join()}}`);
  const texts: Readonly<Record<string, (megabytes: number) => Iterable<Buffer>>> = {
    brackets,
    *'one long text'(megabytes) {
      // Of a model that is none: what a turn of it costs is the upstream's, too.
      const begin = '{"model":"none","messages":[{"role":"user","content":"';
      const end = '"}]}';
      yield Buffer.from(begin);
      yield Buffer.alloc(megabytes * megabyte - begin.length - end.length, 'x');
      yield Buffer.from(end);
    },
    *'a million fields'(megabytes) {
      yield manyFields;
      yield Buffer.alloc(megabytes * megabyte - manyFields.length, ' ');
    },
  };

  // Only Linux tells what a process spends.
  it.runIf(process.platform === 'linux').each(Object.keys(texts))(
    'of %s, many at a time, leave the services answering and their memory bounded',
    async (name) => {
      const url = services.gatewayUrl;
      const bodies = Array.from({ length: 20 }, () =>
        attack({
          url,
          line: 'POST /v1/chat/completions',
          headers: { authorization: `Bearer ${keys.client}` },
          megabytes: 31,
          ...(texts[name] === undefined ? {} : { body: texts[name] }),
        }),
      );
      const all = Promise.all(bodies);
      const { slowest, all: spent, failures } = await watchHealth(all);
      const statuses = (await all).map((answer) => answer.statuses[0]);
      // Before, /health was gone for nearly all of it.
      expect(failures).toEqual([]);
      expect(slowest).toBeLessThan(spent / 2);
      expect(services.cost().peakMb).toBeLessThan(1_280);
      for (const status of statuses) expect([400, 404, 413, 503, undefined]).toContain(status);
      const after = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${keys.client}` },
        body: JSON.stringify({ model: 'sandbox', messages: [{ role: 'user', content: 'hi' }] }),
      });
      expect(after.status).toBe(200);
      await after.body?.cancel();
    },
  );
});
