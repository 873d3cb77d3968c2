import { describe, expect, it } from 'vitest';
import { useAttackedServices } from './attacked-services.ts';
import { headOf, sendRaw } from './raw-connection.ts';

/** Web pages that reach the services through their owner's browser. Without keys, names are all that keeps them out. */

const services = useAttackedServices({});

const paths = {
  gateway: ['/health', '/v1/models', '/v1/chat/completions', '/metrics', '/openapi.json', '/nope'],
  pool: ['/health', '/api/accounts', '/api/accounts/allocate', '/api/events', '/metrics', '/docs'],
};
const urlOf = (name: string): string => (name === 'pool' ? services.poolUrl : services.gatewayUrl);

async function statusOf(
  name: string,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
) {
  const { statuses, text } = await sendRaw({
    url: urlOf(name),
    parts: [headOf(`${method} ${path}`, headers)],
  });
  return { status: statuses[0], text };
}

describe('without keys', () => {
  it('no foreign name of the host is answered to', async () => {
    for (const [name, all] of Object.entries(paths)) {
      const { port } = new URL(urlOf(name));
      const hosts = [
        ...[
          'evil.example',
          `evil.example:${port}`,
          '127.0.0.1.evil.example',
          'localhost.evil.example',
          'notlocalhost',
        ],
        ...[
          '169.254.169.254',
          '10.0.0.1',
          '0.0.0.0.nip.io',
          '[::ffff:a.b.c.d]',
          '[fe80::1]',
          `127.0.0.1@evil.example`,
        ],
        ...[
          'evil.example#127.0.0.1',
          'evil.example/localhost',
          'evil.example,localhost',
          'localhost,evil.example',
        ],
        ...[
          'evil.example\tlocalhost',
          'evil.example?localhost',
          'localhost%00.evil.example',
          'xn--localhost-x',
        ],
      ];
      for (const host of hosts) {
        for (const path of all) {
          for (const method of ['GET', 'POST', 'OPTIONS']) {
            const { status, text } = await statusOf(name, method, path, { host });
            expect([host, method, path, status]).toEqual([host, method, path, status === 400 ? 400 : 403]);
            expect(text).not.toContain('access-control-allow-origin');
          }
        }
      }
    }
  });

  it('no foreign page is answered to', async () => {
    for (const [name, all] of Object.entries(paths)) {
      const { host, port } = new URL(urlOf(name));
      const origins = [
        ...['http://evil.example', 'https://localhost.evil.example', 'http://127.0.0.1.evil.example', 'null'],
        ...[
          `http://evil.example:${port}`,
          'chrome-extension://abc',
          'file://',
          'http://localhost@evil.example',
          'x',
        ],
        ...['http://evil.example/http://localhost', `http://${'a'.repeat(5_000)}.example`],
      ];
      for (const origin of origins) {
        for (const path of all) {
          for (const method of ['GET', 'POST', 'OPTIONS']) {
            const headers = { host, origin, 'access-control-request-method': 'POST' };
            const { status, text } = await statusOf(name, method, path, headers);
            expect([origin, method, path, status]).toEqual([origin, method, path, 403]);
            expect(text).not.toContain('access-control-allow-origin');
          }
        }
      }
    }
  });

  it('no foreign page opens a WebSocket', async () => {
    const { host } = new URL(services.gatewayUrl);
    const handshake = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    };
    for (const headers of [
      { host, origin: 'http://evil.example' },
      { host, origin: 'null' },
      { host: 'evil.example' },
    ]) {
      const { status } = await statusOf('gateway', 'GET', '/v1/responses', { ...handshake, ...headers });
      expect([headers, status]).toEqual([headers, 403]);
    }
    const { status } = await statusOf('gateway', 'GET', '/v1/responses', { ...handshake, host });
    expect(status).toBe(101);
  });

  it('the owner is still answered to, by the names of this machine', async () => {
    for (const name of Object.keys(paths)) {
      const { port } = new URL(urlOf(name));
      for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, 'LOCALHOST', '[::1]', '127.9.9.9']) {
        for (const origin of [{}, { origin: 'http://localhost:3000' }]) {
          expect([host, (await statusOf(name, 'GET', '/health', { host, ...origin })).status]).toEqual([
            host,
            200,
          ]);
        }
      }
    }
  });
});
