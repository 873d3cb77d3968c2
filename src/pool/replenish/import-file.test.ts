import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { openMemoryStore } from '../store/open-store.ts';
import { temporaryFolder } from '../testing/temporary-folder.ts';
import { startTestPool, type TestPool } from '../testing/test-pool.ts';
import { FileSource } from './import-file.ts';

const owner = { role: 'admin', keyId: 'owner', isGateway: false } as const;
const start = Date.UTC(2026, 0, 1);

const line = (key: string, change: Record<string, unknown> = {}) =>
  JSON.stringify({ provider: 'warp', api_key: key, ...change });

/** Writes a file that has stood still since `ageMs` by the test's clock. */
function drop(path: string, text: string, ageMs = 10_000, now = start): void {
  writeFileSync(path, text, { mode: 0o600 });
  const time = (now - ageMs) / 1000;
  utimesSync(path, time, time);
}

async function poolOver(path: string, given: Parameters<typeof startTestPool>[0] = {}, more = {}) {
  return startTestPool(
    { minPoolSize: 0, ...given },
    { sources: (tools) => [new FileSource({ type: 'file', name: 'drop', path }, tools)], ...more },
  );
}

const keysOf = async ({ pool }: TestPool): Promise<string[]> =>
  (await pool.list({ limit: 1000 })).accounts.map((one) => one.label ?? '').sort();
const labelled = (...names: string[]) =>
  `${names.map((name) => line(`wk-${name}`, { label: name })).join('\n')}\n`;
const dropState = async ({ pool }: TestPool) =>
  (await pool.status()).sources.find(({ name }) => name === 'drop');

describe('a file of accounts', () => {
  it('is taken by renaming, and leaves nothing secret behind when it is done', async () => {
    const folder = temporaryFolder();
    drop(join(folder, 'team.jsonl'), labelled('one', 'two'));
    const parts = await poolOver(folder);
    expect(await parts.pool.replenish(owner, { count: 5 })).toMatchObject({ added: 2, failed: 0 });
    expect(await keysOf(parts)).toEqual(['one', 'two']);
    const left = readdirSync(folder);
    expect(left).toEqual([
      expect.stringMatching(/^team\.jsonl\.taken-20260101T000000000Z-\w{8}-\w{8}\.done$/),
    ]);
    const summary = readFileSync(join(folder, left[0] ?? ''), 'utf8');
    expect(JSON.parse(summary)).toMatchObject({ lines: 2, added: 2, duplicates: 0, refused: 0 });
    expect(await dropState(parts)).toMatchObject({ state: 'ok', added: 2, last_error: null });
    await parts.pool.close();
  });

  it('may be named itself; what lies beside it is left alone', async () => {
    const folder = temporaryFolder();
    drop(join(folder, 'accounts.txt'), labelled('one'));
    drop(join(folder, 'other.jsonl'), labelled('two'));
    const parts = await poolOver(join(folder, 'accounts.txt'));
    await parts.pool.replenish(owner, { count: 5 });
    expect(await keysOf(parts)).toEqual(['one']);
    expect(readdirSync(folder)).toContain('other.jsonl');
    await parts.pool.close();
  });

  it('gives as many lines as there is room for; the others wait and are taken later', async () => {
    const folder = temporaryFolder();
    drop(join(folder, 'a.jsonl'), labelled('1', '2', '3', '4', '5'));
    drop(join(folder, 'b.jsonl'), labelled('6'), 5000);
    const parts = await poolOver(folder, { maxPoolSize: 7 });
    expect(await parts.pool.replenish(owner, { count: 2 })).toMatchObject({ added: 2 });
    expect(await keysOf(parts)).toEqual(['1', '2']);
    expect(readdirSync(folder).filter((name) => !name.includes('.taken-'))).toEqual(['b.jsonl']);
    expect(await parts.pool.replenish(owner, { count: 2 })).toMatchObject({ added: 2 });
    expect(await parts.pool.replenish(owner, { count: 9 })).toMatchObject({ added: 2 });
    expect(await keysOf(parts)).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(readdirSync(folder).every((name) => name.endsWith('.done'))).toBe(true);
    await parts.pool.close();
  });

  it('has its bad lines reported by number without secrets, and kept; the others are taken', async () => {
    const folder = temporaryFolder();
    const bad = [
      '{"provider":"warp","api_key":"wk-secret-1"',
      line('wk-secret-2', { colour: 'wk-secret-3' }),
    ];
    const unknown = JSON.stringify({ provider: 'nobody', api_key: 'wk-secret-4' });
    drop(
      join(folder, 'a.jsonl'),
      `\uFEFF${labelled('one')}${bad[0]}\n\n${bad[1]}\n${unknown}\r\n${labelled('two')}`,
    );
    const parts = await poolOver(folder);
    const answer = await parts.pool.replenish(owner, { count: 9 });
    expect(answer).toMatchObject({ added: 2, failed: 3 });
    expect(answer.reasons.slice(0, 3)).toEqual([
      'a.jsonl line 2: is not valid JSON',
      expect.stringMatching(/^a\.jsonl line 4: has an unknown field: "colour"; the fields are provider, /),
      expect.stringMatching(/^a\.jsonl line 5: There is no provider "nobody"/),
    ]);
    expect(await keysOf(parts)).toEqual(['one', 'two']);
    const rejected = readFileSync(join(folder, 'a.jsonl.rejected'), 'utf8');
    expect(
      rejected
        .trim()
        .split('\n')
        .map((text) => (JSON.parse(text) as { line: number }).line),
    ).toEqual([2, 4, 5]);
    const { sources } = await parts.pool.status();
    expect(JSON.stringify([answer, sources]) + rejected).not.toContain('wk-secret');
    expect(sources[1]?.last_error).toContain('line 4');
    expect(readFileSync(join(folder, 'a.jsonl.untaken'), 'utf8')).toBe(
      `${bad[0]}\n${bad[1]}\n${unknown}\r\n`,
    );
    await parts.pool.close();
  });

  it('does not count credentials that the pool has already as failures', async () => {
    const folder = temporaryFolder();
    const parts = await poolOver(folder);
    for (let times = 0; times < 2; times += 1) {
      drop(join(folder, `${times}.jsonl`), labelled('one', 'two'));
      expect(await parts.pool.replenish(owner, { count: 5 })).toMatchObject({
        failed: 0,
        added: times === 0 ? 2 : 0,
      });
    }
    expect(await keysOf(parts)).toEqual(['one', 'two']);
    await parts.pool.close();
  });

  it('keeps an account that the provider rejects, out of service, and counts it as failed', async () => {
    const folder = temporaryFolder();
    drop(join(folder, 'a.jsonl'), labelled('bad', 'good'));
    const parts = await poolOver(folder);
    parts.warp.quotas.set('wk-bad', new AppError('upstream_unauthorized', 'revoked'));
    const answer = await parts.pool.replenish(owner, { count: 1 });
    expect(answer).toMatchObject({
      added: 1,
      failed: 1,
      reasons: [expect.stringMatching(/^a\.jsonl line 1: .*revoked/)],
    });
    expect((await parts.pool.list({ status: 'reauth_required' })).accounts[0]?.label).toBe('bad');
    await parts.pool.close();
  });

  it('may bring accounts into standby, which take no room', async () => {
    const folder = temporaryFolder();
    drop(join(folder, 'a.jsonl'), `${line('wk-1', { standby: true, label: '1' })}\n${labelled('2')}`);
    const parts = await poolOver(folder, { maxPoolSize: 1 });
    expect(await parts.pool.replenish(owner, { count: 1 })).toMatchObject({ added: 1 });
    expect((await parts.pool.status()).pool_stats).toMatchObject({ standby: 1, available: 1 });
    await parts.pool.close();
  });

  it('is not taken while it is being written', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'a.jsonl');
    drop(path, `${labelled('one')}{"provider"`, 500);
    const parts = await poolOver(folder);
    await parts.pool.replenish(owner, { count: 5 });
    parts.clock.advance(1000);
    drop(path, labelled('one', 'two'), 0, parts.clock.now());
    parts.clock.advance(1500);
    await parts.pool.replenish(owner, { count: 5 });
    expect(readdirSync(folder)).toEqual(['a.jsonl']);
    parts.clock.advance(600);
    expect(await parts.pool.replenish(owner, { count: 5 })).toMatchObject({ added: 2, failed: 0 });
    await parts.pool.close();
  });

  it('whose time lies ahead of the clock is taken once it stands still', async () => {
    const folder = temporaryFolder();
    drop(join(folder, 'a.jsonl'), labelled('one'), -3_600_000);
    const parts = await poolOver(folder);
    expect(await parts.pool.replenish(owner, { count: 5 })).toMatchObject({ added: 0 });
    parts.clock.advance(2000);
    expect(await parts.pool.replenish(owner, { count: 5 })).toMatchObject({ added: 1 });
    await parts.pool.close();
  });

  it('has to be a regular file: folders, links, hidden files and files of other kinds stay', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'folder.jsonl'));
    drop(join(folder, 'README.md'), 'read me');
    drop(join(folder, '.hidden.jsonl'), labelled('hidden'));
    const elsewhere = join(temporaryFolder(), 'secret.jsonl');
    drop(elsewhere, labelled('linked'));
    symlinkSync(elsewhere, join(folder, 'link.jsonl'));
    const parts = await poolOver(folder);
    await parts.pool.replenish(owner, { count: 5 });
    expect(await keysOf(parts)).toEqual([]);
    expect(readdirSync(folder).sort()).toEqual(['.hidden.jsonl', 'README.md', 'folder.jsonl', 'link.jsonl']);
    expect(existsSync(elsewhere)).toBe(true);
    await parts.pool.close();
  });

  it.each(['.rejected', '.untaken'])(
    'writes no %s through a link or a pipe that lies there',
    async (suffix) => {
      const folder = temporaryFolder();
      const elsewhere = join(temporaryFolder(), 'of-this-user');
      writeFileSync(elsewhere, 'mine\n');
      for (const name of ['linked', 'piped'])
        drop(join(folder, `${name}.jsonl`), `ssh-ed25519 AAAA\n${labelled(name)}`);
      symlinkSync(elsewhere, join(folder, `linked.jsonl${suffix}`));
      execFileSync('mkfifo', [join(folder, `piped.jsonl${suffix}`)]);
      const parts = await poolOver(folder);
      for (let round = 0; round < 2; round += 1) await parts.pool.replenish(owner, { count: 5 });
      expect(readFileSync(elsewhere, 'utf8')).toBe('mine\n');
      expect((await dropState(parts))?.last_error).toMatch(/cannot be written/);
      await parts.pool.close();
    },
  );

  it('may be 8 MiB long, and is read while others are answered', async () => {
    const folder = temporaryFolder();
    drop(join(folder, 'large.jsonl'), 'x'.repeat(8 * 1024 * 1024 + 1));
    const parts = await poolOver(folder);
    await parts.pool.replenish(owner, { count: 5 });
    expect((await dropState(parts))?.last_error).toMatch(/larger than 8388608 bytes: split it/);
    await parts.pool.close();
  });

  it('that was taken and not finished is read again after a crash, from where it was', async () => {
    const folder = temporaryFolder();
    const store = openMemoryStore(start, { auditsLeases: true });
    store.close = async () => {};
    drop(join(folder, 'a.jsonl'), labelled('1', '2', '3'));
    const first = await poolOver(folder, {}, { store });
    // The process dies in the middle of the first line.
    const addAccount = store.addAccount.bind(store);
    store.addAccount = () => Promise.reject(new Error('the process is gone'));
    await first.pool.replenish(owner, { count: 5 });
    expect(readdirSync(folder)[0]).toMatch(/^a\.jsonl\.taken-/);
    store.addAccount = addAccount;
    await first.pool.close();

    const second = await poolOver(folder, {}, { store, clock: first.clock });
    second.clock.advance(120_000);
    expect(await second.pool.replenish(owner, { count: 5 })).toMatchObject({ added: 3, failed: 0 });
    expect(await keysOf(second)).toEqual(['1', '2', '3']);
    await second.pool.close();
  });

  it('is read by one instance only, also when two look at the same time', async () => {
    const folder = temporaryFolder();
    const store = Object.assign(openMemoryStore(start, { auditsLeases: true }), { isShared: true });
    store.close = async () => {};
    const instances = [await poolOver(folder, {}, { store }), await poolOver(folder, {}, { store })];
    for (let round = 0; round < 10; round += 1) {
      drop(join(folder, `${round}.jsonl`), labelled(`${round}a`, `${round}b`, `${round}c`));
      const answers = await Promise.all(instances.map(({ pool }) => pool.replenish(owner, { count: 3 })));
      expect(answers.map(({ added }) => added).sort()).toEqual([0, 3]);
    }
    expect(instances[0] && (await keysOf(instances[0]))).toHaveLength(30);
    for (const { pool } of instances) await pool.close();
  });

  it('is left alone by an instance that comes while another reads it', async () => {
    const folder = temporaryFolder();
    const store = Object.assign(openMemoryStore(start, { auditsLeases: true }), { isShared: true });
    store.close = async () => {};
    drop(join(folder, 'a.jsonl'), labelled('1', '2', '3'));
    const [first, second] = [await poolOver(folder, {}, { store }), await poolOver(folder, {}, { store })];
    let answer = (): void => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    first.warp.getQuota = async () => {
      await answered;
      return { isUnlimited: true };
    };
    const reading = first.pool.replenish(owner, { count: 3 });
    await vi.waitFor(() => expect(readdirSync(folder)[0]).toMatch(/\.taken-/));
    expect(await second.pool.replenish(owner, { count: 3 })).toMatchObject({ added: 0, failed: 0 });
    expect(second.warp.asked).toEqual([]);
    answer();
    expect(await reading).toMatchObject({ added: 3 });
    for (const { pool } of [first, second]) await pool.close();
  });

  it('taken by another pool at the same place is none of ours', async () => {
    const folder = temporaryFolder();
    drop(join(folder, 'a.jsonl.taken-20260101T000000000Z-0123abcd-00000000'), labelled('theirs'));
    const parts = await poolOver(folder);
    await parts.pool.replenish(owner, { count: 5 });
    expect(await keysOf(parts)).toEqual([]);
    await parts.pool.close();
  });

  it('is picked up soon after it was dropped, when the pool is too small', async () => {
    const folder = temporaryFolder();
    const parts = await poolOver(folder, { minPoolSize: 1 });
    await vi.waitFor(async () => expect(await dropState(parts)).toMatchObject({ state: 'empty' }));
    drop(join(folder, 'a.jsonl'), labelled('one'));
    await vi.waitFor(async () => {
      parts.clock.advance(300);
      expect(await keysOf(parts)).toEqual(['one']);
    });
    await parts.pool.close();
  });

  it('at a place that cannot be looked at makes the source back off and say why', async () => {
    const file = join(temporaryFolder(), 'file');
    drop(file, 'no folder');
    const parts = await poolOver(join(file, 'a.jsonl'));
    const answer = await parts.pool.replenish(owner, { count: 1 });
    expect(answer.reasons[0]).toMatch(/^drop: .*a\.jsonl cannot be looked at \(ENOTDIR\)/);
    expect(await dropState(parts)).toMatchObject({ state: 'backing_off', last_error: answer.reasons[0] });
    await parts.pool.close();
  });
});
