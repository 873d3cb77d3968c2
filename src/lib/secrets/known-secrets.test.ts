import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { cpuSecondsOf } from '../../core/testing/cpu-time.ts';
import { unicodeEscape } from '../shown-text.ts';
import { KnownSecrets } from './known-secrets.ts';

const secret = 'kR7-q/+9 "zürich"&<x>';
const key = 'sk-live-4f9a1c2d3e5b6a7988';

function knowing(...values: string[]): KnownSecrets {
  const secrets = new KnownSecrets();
  for (const value of values) secrets.add(value);
  return secrets;
}

describe('a known secret', () => {
  const bytes = Buffer.from(secret);
  const json = JSON.stringify(secret).slice(1, -1);
  const basic = Buffer.from(`user:${secret}@`).toString('base64');

  it.each([
    ['as it is', secret],
    ['in JSON', json],
    ['in JSON inside JSON', JSON.stringify(json).slice(1, -1)],
    ['in JSON as Python and PHP write it', json.replace('ü', '\\u00fc')],
    ['in JSON as Go writes it', json.replace('&', '\\u0026').replace('<', '\\u003c').replace('>', '\\u003e')],
    ['with slashes escaped', json.replace('/', '\\/')],
    ['in a URL', encodeURIComponent(secret)],
    ['in a URL in lower case', encodeURIComponent(secret).replace(/%../g, (code) => code.toLowerCase())],
    ['in a form', new URLSearchParams([['', secret]]).toString().slice(1)],
    [
      'in a page',
      secret.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;').replaceAll('"', '&quot;'),
    ],
    ['in base64', bytes.toString('base64')],
    ['in base64url', bytes.toString('base64url')],
    ['in hexadecimal', bytes.toString('hex')],
    ['in upper-case hexadecimal', bytes.toString('hex').toUpperCase()],
    ['in upper case', secret.toUpperCase()],
    ['in a URL with every byte escaped', [...bytes].map((byte) => `%${byte.toString(16)}`).join('')],
    ['in a URL, escaped now in capitals and now not', encodeURIComponent(secret).replace('%2B', '%2b')],
    ['in a URL inside a URL', encodeURIComponent(encodeURIComponent(secret))],
    ['in base64 in a URL', encodeURIComponent(bytes.toString('base64').replace(/=+$/, ''))],
    ['in JSON with every character escaped', [...secret].map((one) => unicodeEscape(one)).join('')],
    ['in a page with every character a number', [...secret].map((one) => `&#${one.charCodeAt(0)};`).join('')],
    ['as bytes of a program', [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')],
    ['in UTF-16 that was read as something else', bytes.toString('latin1').replace(/./g, '$&\0')],
    ['with invisible characters in it', secret.replace(/.{5}/g, '$&\u200b')],
  ])('%s is taken out', (_how, written) => {
    const secrets = knowing(secret);
    const clean = secrets.redact(`they said: ${written}, twice: <${written}>`);
    expect(clean).toMatch(/^they said: \[secret\]\S{0,3}, twice: <\[secret\]\S{0,3}>$/);
    expect(secrets.isIn(`"${written}"`)).toBe(true);
  });

  it('is taken out of base64 whatever stands before it', () => {
    for (const before of ['', 'a:', 'ab:', 'Bearer ']) {
      const written = Buffer.from(`${before}${key}:x`).toString('base64');
      const shown = Buffer.from(knowing(key).redact(written).replace('[secret]', ''), 'base64').toString();
      expect(shown).not.toContain(key.slice(4, 12));
      expect(shown).not.toContain(key.slice(-8));
    }
    expect(knowing(secret).redact(basic)).not.toBe(basic);
  });

  it('is found by a part of twelve characters, wherever it was cut', () => {
    const secrets = knowing(key);
    for (let at = 0; at + 12 <= key.length; at += 1) {
      expect(secrets.redact(`(${key.slice(at, at + 12)})`)).toBe('([secret])');
    }
    expect(secrets.redact(`${key.slice(0, 13)}\n${key.slice(13)}`)).toBe('[secret]');
    const wrapped = key.replace(/.{5}/g, '$&\r\n  ');
    expect(secrets.redact(`they said\n${wrapped}\nand left`)).toBe('they said\n[secret]\nand left');
  });

  it('is found by its shown ends where a vendor masks it', () => {
    const secrets = knowing(key);
    expect(secrets.redact(`provided: ${key.slice(0, 9)}********${key.slice(-4)}.`)).toBe(
      `provided: [secret]********${key.slice(-4)}.`,
    );
    expect(secrets.redact(`${key.slice(0, 8)}...${key.slice(-9)}`)).toBe('[secret]...[secret]');
  });

  it('is found line by line where it has several', () => {
    const pem = '-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n';
    expect(knowing(pem).redact('parsed MIIEvQIBADANBg, then kqhkiG9w0BAQEF')).toBe(
      'parsed [secret], then [secret]',
    );
  });

  it('leaves everything else alone', () => {
    const secrets = knowing(key, secret, 'production-database');
    const text = `sk-live-4f9, production, kR7-q, ${'x'.repeat(500)} data ${key.slice(0, 7)}`;
    expect(secrets.redact(text)).toBe(text);
    expect(secrets.isIn(text)).toBe(false);
  });
});

describe('short values', () => {
  it('are looked for as whole words down to six characters, and not at all below that', () => {
    const secrets = knowing('hunter2', 'true', '1', 'prod', '');
    const text = 'true story 1: prod hunter2 hunter22 xhunter2 "hunter2"';
    expect(secrets.redact(text)).toBe('true story 1: prod [secret] hunter22 xhunter2 "[secret]"');
  });

  it('of variables are secrets by their name alone', () => {
    const secrets = new KnownSecrets();
    secrets.addNamed('MODE', 'release');
    secrets.addNamed('VAULT_TOKEN', 'release2');
    secrets.addNamed('DB_PASS', 'wb7x2q');
    expect(secrets.redact('a release, not wb7x2q or release2')).toBe('a release, not [secret] or [secret]');
  });
});

it('takes nothing out that only looks like a credential of a URL', () => {
  const secrets = new KnownSecrets();
  secrets.addUrl(
    'postgres://warp2api@db.example.com/accounts?sslmode=verify-full&application_name=warp2api-pool',
  );
  secrets.addUrl('postgres://postgres:postgres@db.example.com/accounts');
  secrets.addUrl('postgres://someone:accounts@db.example.com/accounts');
  secrets.addUrl('postgres://someone:gateway@db.example.com/accounts');
  secrets.addUrl('https://id.example.com/.well-known/openid-configuration');
  secrets.addNamed('NODE_ENV', 'production');
  secrets.addUrl('postgres://someone:password@db.example.com/accounts');
  secrets.addUrl('https://keys.example.com/new?provider=openrouter&user_email=someone@example.com');
  secrets.addNamed('AWS_REGION', 'eu-central-1');
  secrets.addNamed('MODEL_NAME', 'claude-4-sonnet');
  const text =
    'warp2api postgres gateway accounts verify-full warp2api-pool openid-configuration production password openrouter someone@example.com eu-central-1 claude-4-sonnet';
  expect(secrets.redact(text)).toBe(text);
});

it('takes out of a URL what is secret in it, and no more', () => {
  const secrets = new KnownSecrets();
  secrets.addUrl('postgres://warpuser:p%40ssw0rd-1@db.example.com:5432/accounts');
  secrets.addUrl(
    'https://hooks.example.com/services/T0AAAAAAA/aB3dE5fG7hJ9kL1mN2pQ4rS6?sig=s1gn4ture-x&v=2#fr4gment-y',
    { isPathSecret: true },
  );
  secrets.addUrl('http://pr0xy-token@proxy.example.com:3128');
  expect(
    secrets.redact(
      'postgres://warpuser:p%40ssw0rd-1@db.example.com p@ssw0rd-1 /services/T0AAAAAAA/aB3dE5fG7hJ9kL1mN2pQ4rS6?sig=s1gn4ture-x&v=2#fr4gment-y pr0xy-token@proxy.example.com',
    ),
  ).toBe(
    'postgres://warpuser:[secret]@db.example.com [secret] /services/T0AAAAAAA/[secret]?sig=[secret]&v=2#[secret] [secret]@proxy.example.com',
  );
});

it('knows the arguments that hold a secret', () => {
  const secrets = new KnownSecrets();
  secrets.addArguments([
    '--token=abc-123-def',
    '--api-key',
    'ghi-456-jkl',
    '-H',
    'Authorization: Bearer mno-789-pqr',
    'plain-argument',
  ]);
  expect(secrets.redact('abc-123-def|ghi-456-jkl|mno-789-pqr|plain-argument')).toBe(
    '[secret]|[secret]|[secret]|plain-argument',
  );
});

describe('the credentials of accounts', () => {
  const keyOf = (number: number): string =>
    `sk-or-v1-${createHash('sha256').update(String(number)).digest('hex')}`;

  it('are known by the thousand, those that were used last at least', () => {
    const secrets = new KnownSecrets();
    secrets.add('configured-for-ever');
    for (let number = 0; number < 10_000; number += 1) secrets.use(keyOf(number));
    for (let number = 8_000; number < 10_000; number += 1) {
      expect(secrets.redact(`key ${keyOf(number)}.`)).toBe('key [secret].');
    }
    expect(secrets.redact('configured-for-ever')).toBe('[secret]');
    expect(secrets.redact(`key ${keyOf(1)}.`)).toBe(`key ${keyOf(1)}.`);
  });

  it('are distinguished although hundreds begin and end alike', () => {
    const secrets = new KnownSecrets();
    const twin = (number: number): string => `wk-same-beginning-${1000 + number}-same-end`;
    for (let number = 0; number < 500; number += 1) secrets.use(twin(number));
    for (let number = 0; number < 500; number += 1) {
      expect(secrets.redact(`<${twin(number)}>`)).toBe('<[secret]>');
    }
  });
});

it('is not held up by keys that are made to hold it up', async () => {
  const secrets = new KnownSecrets();
  for (let length = 6_200; length <= 8_192; length += 1) secrets.use('a'.repeat(length));
  for (let length = 8; length < 2_000; length += 1) secrets.use(`${'ab'.repeat(length / 2)}`);
  const seconds = await cpuSecondsOf(() => {
    expect(secrets.redact(`${'a'.repeat(100_000)} ${'ab'.repeat(50_000)}`).length).toBeLessThan(1_000);
  });
  // Without bounds it takes minutes.
  expect(seconds).toBeLessThan(20);
});

it('cannot be guessed letter by letter: what its reader has said stays, right or wrong', () => {
  const secrets = knowing(key, 'hunter2');
  for (const guess of [
    key.slice(0, 13),
    `${key.slice(0, 12)}0`,
    `${key.slice(0, 9)}***`,
    'hunter2',
    'hunter3',
  ]) {
    const text = `There is nothing at GET /${guess}, and the key is ${key}.`;
    expect(secrets.redact(text, () => `/${guess}`)).toBe(text.replace(key, '[secret]'));
    expect(secrets.redact(`no "${guess}"`, () => JSON.stringify({ a: [encodeURIComponent(guess)] }))).toBe(
      `no "${guess}"`,
    );
  }
});

it('takes secrets out of every text of a value, and out of the message of an error', () => {
  const secrets = knowing(key);
  expect(secrets.redactAll({ [key]: [key, 1, null, { deep: `x${key}` }] })).toEqual({
    '[secret]': ['[secret]', 1, null, { deep: 'x[secret]' }],
  });
  const error = new TypeError(`bad ${key}`);
  expect(secrets.clean(error)).toBe(error);
  expect(error.message).toBe('bad [secret]');
});

it('searches what a reader has sent at its length, megabytes too, and answers in the same letters', () => {
  const secrets = knowing(key);
  const guess = key.slice(0, 14);
  const long = () => `${'x'.repeat(3_000_000)} ${guess} `;
  expect(secrets.redact(`bad key ${guess}`, long)).toBe(`bad key ${guess}`);
  expect(secrets.redact(`bad key ${key}`, long)).toBe('bad key [secret]');
});

it('takes keys of clients out by their form, but for those that the reader has sent', () => {
  const secrets = knowing();
  const issued = `w2a_${'aB3-_'.repeat(8)}xyz`;
  expect(secrets.isIn(`?key=${issued}`)).toBe(true);
  expect(secrets.redact(`?key=${issued}&alt=sse`)).toBe('?key=[secret]&alt=sse');
  expect(secrets.redact(issued, () => `bearer ${issued}`)).toBe(issued);
  expect(secrets.isIn(`${issued.slice(0, 10)}…`)).toBe(false);
});

it('is found in a text that was clean before it was known', () => {
  const secrets = new KnownSecrets();
  const [configured, used] = ['first-secret-0123456789', 'second-secret-0123456789'];
  expect([configured, used].map((text) => secrets.isIn(text))).toEqual([false, false]);
  secrets.add(configured);
  secrets.use(used);
  expect([configured, used].map((text) => secrets.isIn(text))).toEqual([true, true]);
});
