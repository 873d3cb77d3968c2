import { describe, expect, it, onTestFinished } from 'vitest';
import { newDatabase } from '../../db/testing/shared-postgres.ts';
import { GatewayDatabase } from '../database/gateway-database.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import { silentLogger } from '../testing/turn-fixture.ts';
import type { KeyWritten, NewKey, StoredKey } from './key-verbs.ts';

let made = 0;
function newKey(name: string, more: Partial<NewKey> = {}): NewKey {
  made += 1;
  return {
    keyId: `key_${made}`,
    name,
    owner: null,
    prefix: 'w2a_abc',
    digest: `digest ${made}`,
    clientId: `client ${made}`,
    models: null,
    providers: null,
    labels: null,
    limits: { budgets: [] },
    expiresAt: null,
    isEnabled: true,
    createdAt: 1_800_000_000_000,
    ...more,
  };
}

function keyIn(written: KeyWritten): StoredKey {
  if ('fault' in written) throw new Error(written.fault);
  return written.key;
}

describe.each([
  ['SQLite', async () => 'sqlite::memory:'],
  ['PostgreSQL', newDatabase],
] as const)('client keys in %s', (_name, urlOf) => {
  async function open(url?: string) {
    const database = await GatewayDatabase.open({
      url: url ?? (await urlOf()),
      clock: createManualClock(),
      logger: silentLogger,
    });
    onTestFinished(() => database.close());
    return <Answer>(...[question]: Parameters<typeof database.ask<Answer>>) => database.ask(question);
  }

  it('are kept with all they may do, and read since a revision', async () => {
    const ask = await open();
    const given = newKey('ci', {
      owner: 'team a',
      models: ['claude-*', 'gpt-5'],
      providers: ['warp'],
      labels: ['a'],
      limits: {
        requests_per_minute: 60,
        budgets: [{ meter: 'cost_cents', window: 'month', limit: 2_000.5 }],
        time_zone: 'Europe/Berlin',
      },
      expiresAt: 1_900_000_000_000,
    });
    const key = keyIn(await ask((verbs) => verbs.createKey(given)));
    expect(key).toMatchObject({ ...given, formerDigest: null, revokedAt: null, lastUsedAt: null });
    const other = keyIn(await ask((verbs) => verbs.createKey(newKey('other'))));
    expect(await ask((verbs) => verbs.keysSince(0))).toEqual([key, other]);
    expect(await ask((verbs) => verbs.keysSince(key.revision))).toEqual([other]);
    const changed = keyIn(await ask((verbs) => verbs.changeKey(key.keyId, { owner: null })));
    expect(await ask((verbs) => verbs.keysSince(other.revision))).toEqual([changed]);
    expect(changed).toEqual({ ...key, owner: null, revision: changed.revision });
  });

  it('change in what is given alone, their limits one by one', async () => {
    const ask = await open();
    const limits = { requests_per_minute: 60, parallel_turns: 2, budgets: [] };
    const { keyId } = keyIn(await ask((verbs) => verbs.createKey(newKey('ci', { models: ['a'], limits }))));
    const change = { models: null, limits: { requests_per_minute: null, tokens_per_minute: 9 } };
    const changed = keyIn(await ask((verbs) => verbs.changeKey(keyId, change)));
    expect(changed).toMatchObject({ name: 'ci', models: null });
    expect(changed.limits).toEqual({ parallel_turns: 2, tokens_per_minute: 9, budgets: [] });
  });

  it('have names that no two live ones share', async () => {
    const ask = await open();
    const first = keyIn(await ask((verbs) => verbs.createKey(newKey('ci'))));
    const other = keyIn(await ask((verbs) => verbs.createKey(newKey('other'))));
    expect(await ask((verbs) => verbs.createKey(newKey('ci')))).toEqual({ fault: 'name_taken' });
    expect(await ask((verbs) => verbs.changeKey(other.keyId, { name: 'ci' }))).toEqual({
      fault: 'name_taken',
    });
    expect(keyIn(await ask((verbs) => verbs.changeKey(first.keyId, { name: 'ci' }))).name).toBe('ci');
    await ask((verbs) => verbs.changeKey(first.keyId, { revokedAt: 5 }));
    const next = keyIn(await ask((verbs) => verbs.createKey(newKey('ci'))));
    expect((await ask((verbs) => verbs.findKey('ci')))?.keyId).toBe(next.keyId);
    expect((await ask((verbs) => verbs.findKey(first.keyId)))?.revokedAt).toBe(5);
    expect(await ask((verbs) => verbs.findKey('nobody'))).toBeUndefined();
  });

  it('are revoked for good, and rotated with the secret before', async () => {
    const ask = await open();
    const key = keyIn(await ask((verbs) => verbs.createKey(newKey('ci'))));
    const secret = { digest: 'next', prefix: 'w2a_xyz', formerUntil: 7 };
    const rotated = keyIn(await ask((verbs) => verbs.rotateKey(key.keyId, secret)));
    expect(rotated).toEqual({ ...key, ...secret, formerDigest: key.digest, revision: rotated.revision });
    expect(await ask((verbs) => verbs.changeKey('key_0', { owner: 'x' }))).toEqual({ fault: 'not_found' });
    await ask((verbs) => verbs.changeKey(key.keyId, { revokedAt: 5 }));
    expect(await ask((verbs) => verbs.changeKey(key.keyId, { isEnabled: true }))).toEqual({
      fault: 'revoked',
    });
    expect(await ask((verbs) => verbs.rotateKey(key.keyId, secret))).toEqual({ fault: 'revoked' });
  });

  it('come in pages, the newest first', async () => {
    const ask = await open();
    const [a, b, c] = await Promise.all(
      ['a', 'b', 'c'].map(async (name) => keyIn(await ask((verbs) => verbs.createKey(newKey(name))))),
    );
    const inOrder = [a, b, c].filter((one) => one !== undefined).sort((one, two) => two.number - one.number);
    const query = { limit: 2, before: undefined, withRevoked: false };
    const first = await ask((verbs) => verbs.keyPage(query));
    expect(first).toEqual(inOrder.slice(0, 2));
    const before = first[1]?.number;
    expect(await ask((verbs) => verbs.keyPage({ ...query, before }))).toEqual(inOrder.slice(2));
    await ask((verbs) => verbs.changeKey(inOrder[0]?.keyId ?? '', { revokedAt: 5 }));
    expect(await ask((verbs) => verbs.keyPage(query))).toEqual(inOrder.slice(1));
    const all = await ask((verbs) => verbs.keyPage({ ...query, limit: 9, withRevoked: true }));
    expect(all.map(({ name }) => name)).toEqual(inOrder.map(({ name }) => name));
  });

  it('note their last use, which goes forward only, beside any change', async () => {
    const ask = await open();
    const one = keyIn(await ask((verbs) => verbs.createKey(newKey('one'))));
    const other = keyIn(await ask((verbs) => verbs.createKey(newKey('other'))));
    await ask((verbs) =>
      verbs.noteKeyUse([
        { key_id: one.keyId, at: 50 },
        { key_id: other.keyId, at: 60 },
      ]),
    );
    await ask((verbs) => verbs.noteKeyUse([{ key_id: one.keyId, at: 40 }]));
    await ask((verbs) => verbs.changeKey(other.keyId, { owner: 'x' }));
    expect((await ask((verbs) => verbs.findKey('one')))?.lastUsedAt).toBe(50);
    expect(await ask((verbs) => verbs.findKey('other'))).toMatchObject({ lastUsedAt: 60, owner: 'x' });
    expect(await ask((verbs) => verbs.keysSince(other.revision))).toHaveLength(1);
  });
});

it('two gateways that make a key of the same name get one, and each revision once', async () => {
  const url = await newDatabase();
  const databases = await Promise.all(
    [1, 2].map(() => GatewayDatabase.open({ url, clock: createManualClock(), logger: silentLogger })),
  );
  onTestFinished(async () => {
    await Promise.all(databases.map((database) => database.close()));
  });
  const written = await Promise.all(
    databases.flatMap((database) =>
      Array.from({ length: 10 }, (_, at) => database.ask((verbs) => verbs.createKey(newKey(`key ${at}`)))),
    ),
  );
  const keys = written.filter((one) => 'key' in one).map(keyIn);
  expect(keys.map(({ name }) => name).sort()).toEqual(Array.from({ length: 10 }, (_, at) => `key ${at}`));
  expect(new Set(keys.map(({ revision }) => revision)).size).toBe(10);
});
