import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it, onTestFinished } from 'vitest';
import { openPostgres } from '../../db/postgres.ts';
import { systemClock } from '../../lib/clock.ts';
import { freshStanding } from '../standing/account-state.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { testAccount, testDemand } from '../testing/test-pool.ts';
import { moveStore } from './move-store.ts';
import { openStore } from './open-store.ts';
import { openPostgresStore } from './postgres/postgres-store.ts';
import { openSqliteStore } from './sqlite/sqlite-store.ts';
import { freshDatabase } from './testing/postgres-database.ts';

const now = Date.UTC(2026, 5, 1);
const usage = { turns: 2, inputTokens: 30, outputTokens: 4, credits: 1.5, costCents: 0.75 };

/** A pool with something of everything, and what it answers. */
async function fillSqlite(path: string) {
  const store = openSqliteStore(path, now, { auditsLeases: true });
  const quota = { isUnlimited: false, limit: 9, used: 2, remaining: 7, resetAt: null, checkedAt: now };
  for (const id of ['one', 'two', 'three', 'four']) {
    await store.addAccount(
      now,
      testAccount(id, { teamUid: `team-${id}`, models: ['a', 'b'], label: `it’s "${id}"`, quota }),
      'test',
    );
  }
  await store.addAccount(
    now,
    testAccount('token', {
      credentialKind: 'refresh_token',
      bearer: { sealed: 'sealed bearer', expiresAt: now + 60_000 },
      nextRefreshAt: now,
    }),
    'test',
  );
  await store.removeAccount(now, 'two', 'test');
  const claim = await store.claimRefresh(now, {
    accountId: 'token',
    minIntervalMs: 3_600_000,
    limitMs: 60_000,
    force: false,
    instance: 'x',
    actor: 'test',
  });
  if (claim.result !== 'claimed') throw new Error(claim.result);
  const credential = { sealed: 'rotated', fingerprint: 'rotated-f', hint: '****' };
  await store.commitRefresh(now, claim.refreshId, {
    bearer: { sealed: 'fresh bearer', expiresAt: now + 7_200_000 },
    credential,
    nextRefreshAt: now + 3_600_000,
  });
  await store.ensureLeases(now, testDemand('held', { prefer: 'one', ttlMs: 600_000 }));
  await store.release(now, { sessionId: 'held', keyId: null, leases: null });
  await store.ensureLeases(now, testDemand('held', { prefer: 'one', ttlMs: 600_000 }));
  await store.ensureLeases(now, testDemand('shared', { exclusive: false, slots: 3, prefer: 'three' }));
  const signal = { outcome: 'success' as const, tokenVersion: 1 };
  const turn = { reportId: 'r1', accountId: 'one', fence: 2, signal, usage };
  await store.report(now, { sessionId: 'held', keyId: 'key-1', turns: [turn] });
  const resting = { ...freshStanding, state: 'cooldown' as const, until: now + 5000, reason: 'rate_limited' };
  await store.changeAccount(
    now,
    'four',
    { standing: { standing: resting, probe: 'proved', quota: null, nextCheckAt: null } },
    { actor: 'test', action: 'rest', detail: { why: 'because' } },
  );
  await store.remember('vault', 'key-id');
  const answers = {
    accounts: (await store.accounts(now, { limit: 100 })).accounts,
    stats: await store.stats(now),
    trail: await store.auditTrail({ limit: 100 }),
    secrets: await store.sealedSecrets(0, 100),
  };
  await store.close();
  return { answers, turn };
}

const digest = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

it('moves a whole pool to PostgreSQL, which answers as SQLite did and goes on from there', async () => {
  const path = join(temporaryFolder(), 'accounts.db');
  const { answers, turn } = await fillSqlite(path);
  const before = digest(path);
  const url = await freshDatabase();
  const moved = await moveStore(`sqlite:${path}`, url, now);
  expect(moved).toMatchObject({ accounts: 4, sessions: 2, leases: 2, refreshes: 1, reports_seen: 1 });
  expect(digest(path)).toBe(before);

  const store = await openPostgresStore(url, { auditsLeases: true });
  onTestFinished(() => store.close());
  expect((await store.accounts(now, { limit: 100 })).accounts).toEqual(answers.accounts);
  expect(await store.stats(now)).toEqual(answers.stats);
  expect(await store.auditTrail({ limit: 100 })).toEqual(answers.trail);
  expect(await store.sealedSecrets(0, 100)).toEqual(answers.secrets);
  expect(await store.remembered('vault')).toBe('key-id');

  const held = await store.ensureLeases(now, testDemand('held'));
  expect(held).toMatchObject({ created: false, leases: [{ account: { id: 'one' }, fence: 2 }] });
  const again = await store.report(now, { sessionId: 'held', keyId: 'key-1', turns: [turn] });
  expect(again?.results[0]?.result).toBe('duplicate');
  await store.release(now, { sessionId: 'held', keyId: null, leases: null });
  const next = await store.ensureLeases(now, testDemand('next', { prefer: 'one' }));
  expect(next).toMatchObject({ leases: [{ account: { id: 'one' }, fence: 3 }] });
  const demand = { accountId: 'token', minIntervalMs: 3_600_000, limitMs: 60_000, force: false };
  const early = await store.claimRefresh(now + 1, { ...demand, instance: 'y', actor: 'test' });
  expect(early).toMatchObject({ result: 'too_early', reason: 'ceiling', nextAt: now + 3_600_000 });
  const original = testAccount('again', { credential: testAccount('token').credential });
  expect(await store.addAccount(now, original, 'test')).toMatchObject({ result: 'duplicate', id: 'token' });
  const added = await store.addAccount(now, testAccount('five'), 'test');
  expect(added.result).toBe('added');
  const last = answers.trail[0]?.seq ?? 0;
  expect((await store.auditTrail({ limit: 1 }))[0]?.seq).toBeGreaterThan(last);
});

it('moves nothing into a database that has accounts, and nothing at all when it fails half way', async () => {
  const path = join(temporaryFolder(), 'accounts.db');
  await fillSqlite(path);
  const url = await freshDatabase();
  const db = await openPostgres(url);
  onTestFinished(() => db.close());
  // Facts come first and would be there if the rest failed.
  await db.writing.script('ALTER TABLE spending ADD CONSTRAINT wrong CHECK (turns < 0)');
  await expect(moveStore(`sqlite:${path}`, url, now)).rejects.toThrow(/wrong/);
  expect(await db.reading.get('SELECT COUNT(*) AS n FROM accounts')).toEqual({ n: 0 });
  expect(await db.reading.get('SELECT COUNT(*) AS n FROM meta')).toEqual({ n: 0 });
  await db.writing.script('ALTER TABLE spending DROP CONSTRAINT wrong');
  await moveStore(`sqlite:${path}`, url, now);
  await expect(moveStore(`sqlite:${path}`, url, now)).rejects.toThrow(/has 4 accounts already.*empty one/);
});

it('is refused where the file has a table that no pool has, whatever the target has', async () => {
  const path = join(temporaryFolder(), 'accounts.db');
  await fillSqlite(path);
  const file = new DatabaseSync(path);
  file.exec('CREATE TABLE client_keys (key_id TEXT)');
  file.close();
  const url = await freshDatabase();
  const db = await openPostgres(url);
  onTestFinished(() => db.close());
  await db.writing.script(
    "CREATE TABLE client_keys (key_id text); INSERT INTO client_keys VALUES ('of a gateway')",
  );
  await expect(moveStore(`sqlite:${path}`, url, now)).rejects.toThrow(
    'It is not known how to move client_keys.',
  );
  expect(await db.reading.get('SELECT COUNT(*) AS n FROM client_keys')).toEqual({ n: 1 });
});

it('is refused while a service uses either database', async () => {
  const path = join(temporaryFolder(), 'accounts.db');
  await fillSqlite(path);
  const url = await freshDatabase();
  const options = { clock: systemClock, onLost: () => {} };
  const from = await openStore(`sqlite:${path}`, options);
  await expect(moveStore(`sqlite:${path}`, url, now)).rejects.toMatchObject({ code: 'database_in_use' });
  await from.close();
  const to = await openStore(url, options);
  await expect(moveStore(`sqlite:${path}`, url, now)).rejects.toMatchObject({ code: 'database_in_use' });
  await to.close();
  expect(await moveStore(`sqlite:${path}`, url, now)).toMatchObject({ accounts: 4 });
});

it('says what to do about a source or a target it cannot use', async () => {
  const missing = `sqlite:${join(temporaryFolder(), 'none.db')}`;
  await expect(moveStore(missing, 'postgres://h/d', now)).rejects.toThrow(
    /There is no database at .*none\.db/,
  );
  await expect(moveStore('postgres://h/d', 'postgres://h/e', now)).rejects.toThrow(/--from sqlite:/);
  await expect(moveStore(missing, 'sqlite:other.db', now)).rejects.toThrow(/--to postgres:/);
});
