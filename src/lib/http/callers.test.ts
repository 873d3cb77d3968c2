import { describe, expect, it } from 'vitest';
import { type CallerRules, createCallers, shownKeys } from './callers.ts';

const callersOf = (change: Partial<CallerRules> & { origins?: string[] } = {}) =>
  createCallers({
    allowedHosts: ['my-box.lan', '192.168.1.5', '[fd00::5]'],
    keysSetting: 'API_KEYS',
    cors: { origins: change.origins ?? [], exposedHeaders: ['x-request-id', 'retry-after'] },
    ...change,
  });

describe('the Host of a request', () => {
  it.each([
    'localhost',
    'LOCALHOST:8018',
    'localhost.:8018',
    '127.0.0.1:8018',
    '127.0.0.5',
    '127.1',
    '[::1]',
    '[::1]:8018',
    '[0:0:0:0:0:0:0:1]:8018',
    '[::ffff:127.0.0.1]',
    'my-box.lan',
    'MY-BOX.lan.:80',
    '192.168.1.5:8018',
    '[FD00:0::5]:8018',
  ])('%s is one of the service', (host) => {
    expect(() => callersOf().check({ host })).not.toThrow();
  });

  it.each(['evil.example', 'localhost.evil.example', '192.168.1.6', '[::2]', 'x@localhost', 'localhost/x'])(
    '%s is none, and the message says what to add',
    (host) => {
      const check = () => callersOf().check({ host });
      expect(check).toThrow(/set API_KEYS/);
      if (!/[@/]/.test(host)) expect(check).toThrow(`add ${host} to ALLOWED_HOSTS`);
    },
  );

  it('and an origin are not repeated at any length', () => {
    const long = `${'x'.repeat(60)}.`.repeat(200);
    for (const headers of [
      { host: `${long}example` },
      { host: `@${long}` },
      { host: 'localhost', origin: `https://${long}` },
    ]) {
      const messages: string[] = [];
      try {
        callersOf().check(headers);
      } catch (error) {
        messages.push(String(error));
      }
      expect(messages.map(({ length }) => length < 600)).toEqual([true]);
    }
  });

  it('missing is said to be missing', () => {
    expect(() => callersOf().check({})).toThrow(/names no host/);
  });

  it('does not matter where keys guard the service', () => {
    expect(() => callersOf({ allowedHosts: null }).check({ host: 'evil.example' })).not.toThrow();
  });
});

describe('the Origin of a request', () => {
  const from = (origin: string, origins: string[] = []) =>
    callersOf({ origins }).check({ host: 'localhost', origin });

  it('of this machine, of the service itself and of the list is let in', () => {
    for (const origin of ['http://localhost:3000', 'https://127.0.0.1', 'http://my-box.lan:8018']) {
      expect(() => from(origin)).not.toThrow();
    }
    const listed = [
      'https://chat.example.com',
      'null',
      'app://obsidian.md',
      'chrome-extension://abc',
      'vscode-webview://*',
      'https://*.corp.example',
    ];
    for (const origin of [
      'https://chat.example.com',
      'null',
      'app://obsidian.md',
      'chrome-extension://abc',
      'vscode-webview://1f2e-9',
      'https://a.b.corp.example',
    ]) {
      expect(() => from(origin, listed)).not.toThrow();
    }
    for (const origin of ['https://evil.example', 'file://', 'nonsense', '']) {
      expect(() => from(origin, ['*'])).not.toThrow();
    }
  });

  it.each([
    ['https://evil.example', 'add https://evil.example to CORS_ORIGINS'],
    ['http://chat.example.com', 'add http://chat.example.com to CORS_ORIGINS'],
    ['https://chat.example.com:444', 'CORS_ORIGINS'],
    ['https://chat.example.com.evil.example', 'CORS_ORIGINS'],
    ['https://evilcorp.example', 'CORS_ORIGINS'],
    ['https://evil.example/.corp.example', 'CORS_ORIGINS'],
    ['app://obsidian.md', 'add app://obsidian.md to CORS_ORIGINS'],
    ['file://', 'add file:// to CORS_ORIGINS'],
    ['null', 'add null to CORS_ORIGINS'],
  ])('%s is not, and the message can be followed', (origin, message) => {
    expect(() => from(origin, ['https://chat.example.com', 'https://*.corp.example'])).toThrow(message);
  });

  it('gets other advice from a service without that setting', () => {
    const pool = callersOf({ cors: undefined, keysSetting: 'ADMIN_KEY' });
    expect(() => pool.check({ host: 'localhost', origin: 'null' })).toThrow(/^(?!.*CORS).*show ADMIN_KEY/);
  });
});

describe('CORS headers', () => {
  it('are absent where nothing is set', () => {
    expect(callersOf().corsHeaders({ origin: 'http://localhost:3000' })).toEqual({});
  });

  it('name the listed origin, and only that', () => {
    const callers = callersOf({ origins: ['http://localhost:3000'] });
    expect(callers.corsHeaders({ origin: 'http://localhost:3000' })).toEqual({
      'access-control-allow-origin': 'http://localhost:3000',
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': 'x-request-id, retry-after',
      vary: 'Origin',
    });
    expect(callers.corsHeaders({ origin: 'http://localhost:4000' })).toEqual({ vary: 'Origin' });
    expect(callers.corsHeaders({})).toEqual({ vary: 'Origin' });
  });

  it('let any page read, without its cookies, where any may', () => {
    const headers = callersOf({ origins: ['*'] }).corsHeaders({ origin: 'null' });
    expect(headers).toMatchObject({ 'access-control-allow-origin': '*' });
    expect(headers).not.toHaveProperty('access-control-allow-credentials');
  });
});

describe("a browser's question before a request", () => {
  const asked = {
    origin: 'http://localhost:3000',
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,x-stainless-os',
  };

  it('is answered with what it asks for', () => {
    const callers = callersOf({ origins: ['http://localhost:3000'] });
    expect(callers.preflight('OPTIONS', asked)).toMatchObject({
      'access-control-allow-methods': expect.stringContaining('POST'),
      'access-control-allow-headers': 'authorization,x-stainless-os',
      'access-control-max-age': '7200',
      vary: expect.stringMatching(/Origin.*Access-Control-Request-Headers/),
    });
    expect(callers.preflight('OPTIONS', asked)).not.toHaveProperty('access-control-allow-private-network');
    for (const odd of ['a: b', 'a b', ', ,', 'x'.repeat(5_000), 'a,'.repeat(500), '\u00e9']) {
      const answer = callers.preflight('OPTIONS', { ...asked, 'access-control-request-headers': odd });
      expect(answer).not.toHaveProperty('access-control-allow-headers');
    }
    const fromOutside = { ...asked, 'access-control-request-private-network': 'true' };
    expect(callers.preflight('OPTIONS', fromOutside)).toMatchObject({
      'access-control-allow-private-network': 'true',
    });
  });

  it('is refused to others by name, also where keys guard the service', () => {
    const callers = callersOf({ allowedHosts: null });
    expect(() => callers.preflight('OPTIONS', asked)).toThrow('add http://localhost:3000 to CORS_ORIGINS');
  });

  it('is none without its headers, or with another method', () => {
    const callers = callersOf({ origins: ['*'] });
    expect(callers.preflight('OPTIONS', { origin: 'http://localhost:3000' })).toBeUndefined();
    expect(callers.preflight('POST', asked)).toBeUndefined();
  });
});

it('any port of an origin includes its own one, and nothing but a port', () => {
  const { corsHeaders } = callersOf({ origins: ['http://localhost:*', 'https://*.b.example'] });
  const isListed = (origin: string) => 'access-control-allow-origin' in corsHeaders({ origin });
  expect(['http://localhost', 'http://localhost:3000', 'https://a.b.example'].filter(isListed)).toHaveLength(
    3,
  );
  expect(
    ['http://localhost.evil', 'http://localhost:', 'http://localhost:3000.evil'].filter(isListed),
  ).toEqual([]);
});

it('an unreadable Host and a missing one get different messages', () => {
  const check = (host?: string) => () => callersOf().check({ host });
  expect(check('x@localhost')).toThrow(/^The header Host, "x@localhost", is no host name: send/);
  expect(check()).toThrow(/^The request names no host: send the header Host/);
});

it('finds the keys of a request in every usual place, each once', () => {
  const headers = { authorization: 'Bearer Bearer one', 'x-api-key': 'two, one', 'api-key': 'three' };
  expect(shownKeys(headers, '/v1/models?key=four&key=two')).toEqual(['one', 'two', 'three', 'four']);
});

it('takes a few of thousands: each has to be hashed', () => {
  const many = Array.from({ length: 5_000 }, (_, number) => `k${number}`);
  expect(shownKeys({ 'x-api-key': many.join(',') }, `/?key=${many.join('&key=')}`)).toHaveLength(16);
});
