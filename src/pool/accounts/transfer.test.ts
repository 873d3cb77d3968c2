import { request as httpRequest } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { ImportAnswer } from '../../pool-api/account-schema.ts';
import { openExport } from '../../pool-api/import-format.ts';
import type { ErrorAnswer } from '../../pool-api/schema.ts';
import { closeServers, type Running, startServer } from '../testing/test-server.ts';

afterEach(closeServers);

const importPath = '/api/accounts/import';
const exportPath = '/api/accounts/export';
const passphrase = 'correct horse battery';
const quiet = { minPoolSize: 0 };

/** The body as it came: it is no JSON. */
function textOf({ port }: Running, body: unknown): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: exportPath }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}

describe('an import', () => {
  it('names the fields that there are not, the line they are in, and those that are meant', async () => {
    const service = await startServer(quiet);
    const lines = [
      '{"provider":"warp","apikey":"wk-secret"}',
      '',
      '{"provider":"warp","api_key":"wk-1","wk-1.5f2c1d":"x","colour":1}',
    ].join('\n');
    const { body } = await service.call<ImportAnswer>('POST', importPath, { lines });
    expect(body.results.map(({ line, result, reason }) => [line, result, reason])).toEqual([
      [1, 'failed', 'has an unknown field: "apikey" (did you mean "api_key"?)'],
      [
        3,
        'failed',
        'has unknown fields: one whose name may be a secret, "colour"; the fields are provider, email, api_key, refresh_token, label, capacity, models, free, lend, tier, team_uid, standby',
      ],
    ]);
  });

  it('takes each line by itself, tells what became of it, and adds nothing the second time', async () => {
    const service = await startServer({ ...quiet, maxPoolSize: 1 });
    service.warp.quotas.set('wk-bad', new AppError('upstream_unauthorized', 'revoked'));
    const lines = [
      '{"provider":"warp","api_key":"wk-1","email":"a@example.com","label":"x","capacity":3,"tier":2}',
      '{"provider":"warp","refresh_token":"rt-1","api_key":null,"label":null,"models":null}',
      '{"provider":"warp","api_key":"wk-bad"}',
      'wk-secret is no JSON',
      '{"provider":"nobody","api_key":"wk-secret"}',
      '{"provider":"warp","api_key":"wk-2","standby":true}',
      '{"provider":"warp","api_key":"wk-1"}',
    ].join('\n');
    const { status, body } = await service.call<ImportAnswer>('POST', importPath, { lines });
    expect(status).toBe(200);
    expect(body).toMatchObject({ success: true, added: 3, duplicates: 1, failed: 3 });
    expect(body.results.map(({ line, result }) => [line, result])).toEqual([
      [1, 'added'],
      [2, 'added'],
      [3, 'rejected'],
      [4, 'failed'],
      [5, 'failed'],
      [6, 'added'],
      [7, 'duplicate'],
    ]);
    expect(body.results[6]?.id).toBe(body.results[0]?.id);
    expect(JSON.stringify(body)).not.toContain('wk-secret');
    const { account } = await service.pool.get(body.results[0]?.id ?? '');
    expect(account).toMatchObject({
      email: 'a@example.com',
      label: 'x',
      capacity: 3,
      tier: 2,
      source: 'import',
    });

    const again = await service.call<ImportAnswer>('POST', importPath, { lines });
    expect(again.body).toMatchObject({ added: 0, duplicates: 5, failed: 2 });
    expect((await service.pool.list({})).total).toBe(4);
    const [entry] = (await service.pool.trail({})).entries;
    expect(entry).toMatchObject({
      action: 'accounts-imported',
      detail: { added: 0, duplicates: 5, failed: 2 },
    });
  });

  it.each([
    [{}, 'lines'],
    [{ lines: '', sealed: '' }, 'lines'],
    [{ sealed: 'x' }, 'passphrase'],
    [{ lines: '', passphrase: 'x' }, 'passphrase'],
    [{ sealed: 'no export', passphrase }, 'sealed'],
    [{ lines: '', colour: 1 }, 'colour'],
  ])('with the body %j is refused by the name of the field', async (body, param) => {
    const service = await startServer(quiet);
    const answer = await service.call<ErrorAnswer>('POST', importPath, body);
    expect(answer).toMatchObject({ status: 400, body: { error: { param } } });
  });

  it('needs the admin key', async () => {
    const service = await startServer(quiet, { adminKey: 'boss', poolApiKey: 'borrow' });
    for (const path of [importPath, exportPath]) {
      const headers = { authorization: 'Bearer borrow' };
      expect((await service.call('POST', path, { lines: '', passphrase }, headers)).status).toBe(403);
    }
  });
});

describe('an export', () => {
  it('holds every account with its credential, and moves it to another pool', async () => {
    const from = await startServer(quiet);
    for (let number = 0; number < 600; number += 1) await from.add(`wk-${number}`);
    await from.pool.add(
      { role: 'admin', keyId: 'owner', isGateway: false },
      { provider: 'warp', refresh_token: 'rt-1', label: 'token' },
    );
    const off = await from.add('wk-off', { email: 'off@example.com', team_uid: 'team-1' });
    await from.call('PATCH', `/api/accounts/${off}`, { enabled: false });

    const { status, text } = await textOf(from, { passphrase });
    expect(status).toBe(200);
    // With the quotation mark before it: three letters alone turn up in sealed text now and then.
    expect(text).not.toMatch(/"wk-|"rt-1/);
    const to = await startServer(quiet);
    const { body } = await to.call<ImportAnswer>('POST', importPath, { sealed: text, passphrase });
    expect(body).toMatchObject({ added: 602, duplicates: 0, failed: 0 });
    const moved = (await to.pool.list({ email: 'off@example.com' })).accounts[0];
    expect(moved).toMatchObject({ status: 'standby', team_uid: 'team-1' });
    const [entry] = (await from.pool.trail({})).entries;
    expect(entry).toMatchObject({ action: 'accounts-exported', actor: 'local' });
    expect(JSON.stringify(entry)).not.toContain(passphrase);
  });

  it('may be of some accounts only, and of none', async () => {
    const service = await startServer(quiet);
    await service.add('wk-1', { label: 'mine' });
    await service.add('wk-2');
    const linesOf = async (filter: Record<string, unknown>) => {
      const parts: string[] = [];
      const { text } = await textOf(service, { passphrase, filter });
      for await (const part of openExport(text, passphrase)) parts.push(part);
      return parts
        .join('')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    };
    expect(await linesOf({ label: 'mine', status: null })).toEqual([
      expect.objectContaining({ provider: 'warp', api_key: 'wk-1', label: 'mine' }),
    ]);
    expect(await linesOf({ status: 'disabled' })).toEqual([]);
  });

  it.each([[{}], [{ passphrase: 'too short' }], [{ passphrase, filter: { colour: 1 } }]])(
    'is refused with the body %j',
    async (body) => {
      const service = await startServer(quiet);
      expect((await textOf(service, body)).status).toBe(400);
    },
  );
});
