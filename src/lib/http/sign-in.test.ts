import { describe, expect, it } from 'vitest';
import { HttpFault } from './http-fault.ts';
import { SignIn } from './sign-in.ts';

const hourMs = 3_600_000;
const key = 'admin-key-1234567890';
const page = {
  method: 'POST',
  url: '/api/session',
  headers: { host: 'box:8018', origin: 'http://box:8018' },
};

function start(keys: readonly string[] = [key]) {
  const time = { at: 1_800_000_000_000 };
  const clock = { now: () => time.at, monotonic: () => time.at };
  const make = (own = keys) => new SignIn({ keys: own, clock, onWrongKey: () => {} });
  return { time, make, signIn: make() };
}

function asked(setCookie: string, headers: Record<string, string> = {}, method = 'GET') {
  return {
    method,
    url: '/api/accounts',
    headers: { host: 'box:8018', cookie: setCookie.split(';')[0] ?? '', ...headers },
  };
}

function faultOf(act: () => unknown): HttpFault {
  try {
    act();
  } catch (error) {
    if (error instanceof HttpFault) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('a session', () => {
  it('is good at every service with the key, and at none with another', () => {
    const { make, signIn } = start();
    const { cookie, session } = signIn.begin(page, '10.0.0.1', key);
    expect(make().sessionOf(asked(cookie))).toMatchObject({ csrf: session.csrf });
    expect(make().withKey(asked(cookie))).toMatchObject({ headers: { authorization: `Bearer ${key}` } });
    const other = make(['another-admin-key-123']);
    expect(other.sessionOf(asked(cookie))).toBeUndefined();
    // Under the name that the other service gives its own.
    const [name] = other.begin(page, '10.0.0.1', 'another-admin-key-123').cookie.split('=');
    const renamed = cookie.replace(/^[^=]+/, name ?? '');
    expect(other.sessionOf(asked(renamed))).toBeUndefined();
    expect(other.withKey(asked(renamed)).headers).not.toHaveProperty('authorization');
  });

  it('is ended by signing out, with every copy of its cookie', () => {
    const { make, signIn } = start();
    const { cookie } = signIn.begin(page, '10.0.0.1', key);
    const other = signIn.begin(page, '10.0.0.1', key);
    expect(signIn.ended(asked(cookie))).toEqual([expect.stringContaining('Max-Age=0')]);
    expect(signIn.sessionOf(asked(cookie))).toBeUndefined();
    expect(signIn.withKey(asked(cookie)).headers).not.toHaveProperty('authorization');
    expect(signIn.sessionOf(asked(other.cookie))).toBeDefined();
    expect(make().sessionOf(asked(cookie))).toBeDefined();
  });

  it('ends eight hours after it was last renewed, and after a week in any case', () => {
    const { time, signIn } = start();
    let { cookie } = signIn.begin(page, '10.0.0.1', key);
    time.at += 7 * hourMs;
    expect(signIn.sessionOf(asked(cookie))).toBeDefined();
    time.at += hourMs;
    expect(signIn.sessionOf(asked(cookie))).toBeUndefined();
    expect(signIn.renewed(asked(cookie))).toBeUndefined();
    ({ cookie } = signIn.begin(page, '10.0.0.1', key));
    for (let hours = 0; hours < 7 * 24 - 6; hours += 6) {
      time.at += 6 * hourMs;
      expect(signIn.sessionOf(asked(cookie))).toBeDefined();
      cookie = signIn.renewed(asked(cookie)) ?? '';
    }
    time.at += 6 * hourMs;
    expect(signIn.sessionOf(asked(cookie))).toBeUndefined();
  });

  it('cannot be changed', () => {
    const { signIn, time } = start();
    const { cookie } = signIn.begin(page, '10.0.0.1', key);
    const [pair = ''] = cookie.split(';');
    for (let at = pair.indexOf('=') + 1; at < pair.length; at += 1) {
      const changed = `${pair.slice(0, at)}${pair[at] === 'a' ? 'b' : 'a'}${pair.slice(at + 1)}`;
      expect(signIn.sessionOf(asked(changed))).toBeUndefined();
    }
    const later = (time.at + 1_000).toString(36);
    expect(signIn.sessionOf(asked(pair.replace(time.at.toString(36), later)))).toBeUndefined();
  });

  it("is not another page's, nor a request's that shows a key itself", () => {
    const { signIn } = start();
    const { cookie, session } = signIn.begin(page, '10.0.0.1', key);
    const write = (headers: Record<string, string>) => () =>
      signIn.withKey(asked(cookie, { 'x-warp2api-csrf': session.csrf, ...headers }, 'POST'));
    expect(write({ origin: 'http://box:8018' })()).toMatchObject({
      headers: { authorization: `Bearer ${key}` },
    });
    for (const headers of [
      { origin: 'http://box:3000' },
      { origin: 'null' },
      { 'sec-fetch-site': 'same-site', origin: 'http://box:8018' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'none' },
      { 'x-warp2api-csrf': '' },
    ]) {
      expect(faultOf(write(headers)).kind).toBe('foreign_origin');
    }
    const withKey = asked(cookie, { authorization: 'Bearer wrong' }, 'POST');
    expect(signIn.withKey(withKey)).toBe(withKey);
    expect(signIn.sessionOf(asked(cookie, { origin: 'http://localhost:3000' }))).toBeUndefined();
  });

  it('is Secure where the browser says that the page came by https', () => {
    const { signIn } = start();
    const attributes = (headers: Record<string, string>) =>
      signIn.begin({ ...page, headers: { host: 'box:8018', ...headers } }, '10.0.0.1', key).cookie;
    expect(attributes({ origin: 'https://box' })).toMatch(/HttpOnly; SameSite=Strict; Secure$/);
    expect(attributes({ origin: 'http://box:8018', 'x-forwarded-proto': 'https' })).toMatch(
      /SameSite=Strict$/,
    );
    expect(
      attributes({
        origin: 'http://localhost:8018',
        'sec-fetch-site': 'same-origin',
        host: 'localhost:8018',
      }),
    ).toMatch(/SameSite=Strict$/);
  });
});

describe('wrong keys', () => {
  const wrong = (signIn: SignIn, address: string, request = page) =>
    faultOf(() => signIn.begin(request, address, 'not-the-key'));

  it('are slowed down for their network, until it has waited', () => {
    const { signIn, time } = start();
    for (let count = 0; count < 5; count += 1) expect(wrong(signIn, '2001:db8::1').kind).toBe('invalid_key');
    expect(faultOf(() => signIn.begin(page, '2001:db8::ffff:2', key))).toMatchObject({
      kind: 'too_many_attempts',
      retryAfterMs: 1_000,
    });
    expect(signIn.begin(page, '2001:db8:0:1::1', key).session).toBeDefined();
    time.at += 1_000;
    expect(wrong(signIn, '2001:db8::1').kind).toBe('invalid_key');
    expect(wrong(signIn, '2001:db8::1')).toMatchObject({ kind: 'too_many_attempts', retryAfterMs: 2_000 });
    time.at += 2_000;
    expect(signIn.begin(page, '2001:db8::1', key).session).toBeDefined();
    expect(wrong(signIn, '2001:db8::1').kind).toBe('invalid_key');
  });

  it('from many addresses are slowed down together, and do not lock out a browser that was signed in', () => {
    const { signIn, time } = start();
    const { cookie } = signIn.begin(page, '10.0.0.1', key);
    time.at += 10 * hourMs;
    let slowed = 0;
    for (let host = 0; host < 200; host += 1) {
      if (wrong(signIn, `10.1.0.${host}`).kind === 'too_many_attempts') slowed += 1;
    }
    expect(slowed).toBeGreaterThan(100);
    const known = { ...page, headers: { ...page.headers, cookie: cookie.split(';')[0] ?? '' } };
    expect(signIn.begin(known, '10.1.0.7', key).session).toBeDefined();
    expect(faultOf(() => signIn.begin(page, '10.9.9.9', key)).kind).toBe('too_many_attempts');
    time.at += 1_000;
    expect(signIn.begin(page, '10.9.9.9', key).session).toBeDefined();
  });
});
