import { METHODS } from 'node:http';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ApiDocument } from '../../src/lib/api/api-document.ts';
import { keys, useAttackedServices, withKeys } from './attacked-services.ts';
import { headOf, sendRaw } from './raw-connection.ts';

/** Callers without a key, with a key for other calls, and with a key in the wrong place. */

const services = useAttackedServices(withKeys);

type ServiceName = 'pool' | 'gateway';
const both: readonly ServiceName[] = ['pool', 'gateway'];
const urlOf = (name: ServiceName): string => (name === 'pool' ? services.poolUrl : services.gatewayUrl);

interface Operation {
  readonly service: ServiceName;
  readonly method: string;
  readonly path: string;
  /** As a name of the document's keys; undefined: open. */
  readonly access: string | undefined;
}

/** Every operation of both documents, so that a new one is examined without a word here. */
const operations: Operation[] = [];
beforeAll(async () => {
  for (const service of both) {
    const document = (await (await fetch(`${urlOf(service)}/openapi.json`)).json()) as ApiDocument;
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, { security }] of Object.entries(methods)) {
        const access = Object.keys(security[0] ?? {})[0];
        operations.push({
          service,
          method: method.toUpperCase(),
          path: path.replace('{id}', 'none'),
          access,
        });
      }
    }
  }
  expect(operations.length).toBeGreaterThan(30);
});

interface Call {
  readonly service: ServiceName;
  readonly method: string;
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

async function call({ service, method, target, headers = {}, body }: Call) {
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  const head = headOf(`${method} ${target}`, { host: new URL(urlOf(service)).host, ...length, ...headers });
  const answer = await sendRaw({ url: urlOf(service), parts: [head, body ?? ''] });
  return { ...answer, status: answer.statuses[0] };
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe('a key', () => {
  /** Which keys open what, by the name the documents give to the key of an operation. */
  const opening: Readonly<Record<string, readonly string[]>> = {
    'gateway clientKey': [keys.client, keys.neighbour],
    'gateway adminKey': [keys.admin],
    'gateway strictAdminKey': [keys.admin],
    'pool adminKey': [keys.admin],
    'pool poolKey': [keys.admin, keys.pool, keys.gateway],
  };

  it('opens what its holder may use, and nothing else', async () => {
    const wrong = [
      '',
      'wrong',
      keys.admin.slice(0, -1),
      `${keys.admin}x`,
      keys.admin.toUpperCase(),
      'undefined',
    ];
    for (const { service, method, path, access } of operations) {
      for (const key of [undefined, ...wrong, ...Object.values(keys)]) {
        const headers = key === undefined ? {} : bearer(key);
        // Streams go on until their reader leaves: the head is enough.
        const { status } = await call({ service, method, target: path, headers });
        const isOpen = access === undefined || opening[`${service} ${access}`]?.includes(key ?? '') === true;
        expect([service, method, path, key, status !== 401 && status !== 403]).toEqual([
          service,
          method,
          path,
          key,
          isOpen,
        ]);
      }
    }
  });

  it('counts only where keys belong', async () => {
    const places: readonly Partial<Call>[] = [
      { headers: { cookie: `key=${keys.admin}; authorization=Bearer ${keys.admin}` } },
      { headers: { authorization: `Basic ${Buffer.from(`:${keys.admin}`).toString('base64')}` } },
      { headers: { authorization: `Digest ${keys.admin}` } },
      { headers: { 'proxy-authorization': `Bearer ${keys.admin}` } },
      { headers: { 'x-forwarded-authorization': `Bearer ${keys.admin}` } },
      { headers: { 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '127.0.0.1' } },
      { headers: { 'x-original-url': '/health', 'x-rewrite-url': '/health' } },
      { headers: { 'x-http-method-override': 'GET' } },
      { headers: { 'x-admin': 'true', 'x-role': 'admin' } },
      { target: `/metrics?api_key=${keys.admin}` },
      { target: `/metrics?access_token=${keys.admin}` },
      { target: `/metrics?authorization=Bearer%20${keys.admin}` },
      { target: `/metrics?headers[authorization]=Bearer%20${keys.admin}` },
      { target: `/metrics?x=1#key=${keys.admin}` },
      { target: `/metrics;key=${keys.admin}` },
      { target: `/metrics/${keys.admin}` },
      { target: `http://x:${keys.admin}@127.0.0.1/metrics` },
    ];
    for (const service of both) {
      for (const place of places) {
        const { status } = await call({ service, method: 'GET', target: '/metrics', ...place });
        expect([service, place, [400, 401, 404].includes(status ?? 0)]).toEqual([service, place, true]);
      }
    }
  });
});

describe('the address of a request', () => {
  const forms: readonly ((path: string) => string)[] = [
    (path) => `/${path}`,
    (path) => path.replaceAll('/', '//'),
    (path) => `${path}/`,
    (path) => `${path}//`,
    (path) => `/x/..${path}`,
    (path) => `/.${path}`,
    (path) => `/%2e${path}`,
    (path) => `/x/%2e%2e${path}`,
    (path) => path.toUpperCase(),
    (path) => path.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
    (path) => path.replace('/', '/%2f'),
    (path) => `%2f${path.slice(1)}`,
    (path) => path.replaceAll('/', '\\'),
    (path) => `${path};x`,
    (path) => `${path};/../../health`,
    (path) => `${path}.`,
    (path) => `${path}.json`,
    (path) => `${path}%00`,
    (path) => `${path}%20`,
    (path) => `${path}%2e%2e`,
    (path) => `${path}?`,
    (path) => `${path}?/health`,
    (path) => `${path}?x=/openapi.json`,
    (path) => `/health/..${path}`,
    (path) => `/openapi.json/..${path}`,
    (path) => `/health?${path}`,
    (path) => `/health;${path}`,
    (path) => `/health#${path}`,
    (path) => `http://127.0.0.1${path}`,
    (path) => `HTTP://elsewhere:1${path}`,
    (path) => `https://elsewhere/health/..${path}`,
    (path) => `file://${path}`,
    (path) => path.slice(1),
    () => '*',
  ];

  it('lets no form past the check of keys', async () => {
    const closed = operations.filter(({ access }) => access !== undefined);
    for (const { service, method, path } of closed) {
      await Promise.all(
        forms.map(async (form) => {
          const target = form(path);
          const { status, text } = await call({ service, method, target });
          // Only what is open to all anyway may be reached without a key.
          const isOpen = /^(\/(health|openapi.json)|\*$)/.test(target) && method === 'GET';
          const isRefused = status !== undefined && [400, 401, 404, 405, 426].includes(status);
          expect([service, method, target, isRefused || isOpen || text === '']).toEqual([
            service,
            method,
            target,
            true,
          ]);
        }),
      );
    }
  });

  it('is one that its document names, or there is nothing there', async () => {
    const guesses = [
      ...[
        '/',
        '/admin',
        '/api',
        '/api/',
        '/v1',
        '/v1/',
        '/debug',
        '/status',
        '/healthz',
        '/ready',
        '/favicon.ico',
      ],
      ...[
        '/.env',
        '/.git/config',
        '/config',
        '/accounts.db',
        '/data/master.key',
        '/index.html',
        '/robots.txt',
      ],
      ...['/v1/embeddings', '/v1/completions', '/v1/images/generations', '/v1/audio/speech', '/v1/files'],
      ...[
        '/v1/messages/batches',
        '/v1/conversations',
        '/v1/threads',
        '/v1/keys',
        '/v1/accounts',
        '/v1/config',
      ],
      ...[
        '/api/sessions',
        '/api/leases',
        '/api/keys',
        '/api/config',
        '/api/vault',
        '/api/events/one',
        '/api/sources',
      ],
      ...[
        '/documentation',
        '/swagger',
        '/graphql',
        '/server-status',
        '/debug/pprof',
        '/__proto__',
        '/constructor',
      ],
    ];
    for (const service of both) {
      const key = service === 'pool' ? keys.admin : keys.client;
      for (const target of guesses) {
        for (const method of ['GET', 'POST']) {
          const { status } = await call({ service, method, target, headers: bearer(key) });
          const path = target.replace(/(?<=.)\/$/, '');
          const isNamed = operations.some((one) => one.service === service && one.path === path);
          expect([service, method, target, isNamed || status === 404]).toEqual([
            service,
            method,
            target,
            true,
          ]);
        }
      }
    }
  });
});

describe('a method', () => {
  it('that a path does not have is a 405 that names those it has, whatever the method is', async () => {
    const odd = ['QUERY', 'PROPFIND', 'TRACE', 'TRACK', 'DEBUG', 'FOO', 'get', 'VERSION-CONTROL'];
    const methods = [...new Set([...METHODS, ...odd])].filter((method) => method !== 'CONNECT');
    for (const service of both) {
      const key = service === 'pool' ? keys.admin : keys.client;
      for (const path of ['/health', service === 'pool' ? '/api/accounts' : '/v1/responses']) {
        const had = operations
          .filter((one) => one.service === service && one.path === path)
          .map(({ method }) => method);
        const known = [...had, ...(had.includes('GET') ? ['HEAD'] : [])];
        for (const method of methods.filter((one) => !known.includes(one))) {
          const { status, text } = await call({
            service,
            method,
            target: path,
            headers: bearer(key),
            body: 'secret',
          });
          expect([service, method, path, status, text.includes('secret')]).toEqual([
            service,
            method,
            path,
            405,
            false,
          ]);
          const allowed = /^allow: (.*)$/im.exec(text)?.[1]?.trim().split(', ') ?? [];
          if (/^[A-Z]+$/.test(method) && METHODS.includes(method)) {
            expect([method, path, allowed.filter((one) => one !== 'HEAD').sort()]).toEqual([
              method,
              path,
              had.sort(),
            ]);
          } else {
            expect(allowed).toContain('GET');
          }
        }
      }
    }
  });

  it('CONNECT opens no way to other hosts', async () => {
    for (const service of both) {
      for (const target of ['127.0.0.1:1', new URL(services.upstreamUrl).host, '/health']) {
        const { statuses } = await call({ service, method: 'CONNECT', target });
        expect([target, statuses.filter((status) => status < 400)]).toEqual([target, []]);
      }
    }
  });
});
