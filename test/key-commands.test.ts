import { expect, test } from 'vitest';
import type { CliActions } from '../src/cli/actions.ts';
import { runProgram } from '../src/cli/program.ts';
import { askGateway } from '../src/compose/ask-gateway.ts';
import { loadConfig } from '../src/config.ts';
import { servicesForTest, userTurn } from './support/services.ts';

test('keys are made, listed, changed, rotated and revoked by commands, and a secret can be piped', async () => {
  const services = await servicesForTest({ ADMIN_KEY: 'the-operator' });
  const config = loadConfig({ ADMIN_KEY: 'the-operator', DATA_DIR: '/nowhere' });
  let out = '';
  let err = '';
  const actions = {
    askGateway: (path: string, _url: string | undefined, call?: Parameters<typeof askGateway>[3]) =>
      askGateway(config, path, services.gatewayUrl, call),
    write: (text: string) => {
      out += text;
    },
    writeError: (text: string) => {
      err += text;
    },
  } as unknown as CliActions;
  const run = async (...words: string[]) => {
    out = '';
    err = '';
    return [await runProgram(actions, ['key', ...words]), out] as const;
  };
  const turn = async (secret: string) =>
    (await services.chat(userTurn('sandbox', 'Hi'), { authorization: `Bearer ${secret}` })).status;

  const budgets = ['--budget', 'cost_cents/month=2000', '--budget', 'requests/day=50'];
  const limits = ['--requests-per-minute', '60', '--parallel-turns', '2', '--time-zone', 'Asia/Shanghai'];
  const [code, made] = await run(
    'create',
    'ci',
    '--owner',
    'team a',
    '--expires',
    '90d',
    ...limits,
    ...budgets,
  );
  expect(code).toBe(0);
  const secret = made.trim();
  expect(made).toBe(`${secret}\n`);
  expect(secret).toMatch(/^w2a_[\w-]{43}$/);
  expect(err).toContain('Made the key "ci" (key_');
  expect(err).not.toContain(secret);
  expect(await turn(secret)).toBe(200);

  expect((await run('create', 'ci'))[0]).toBe(1);
  expect(err).toContain('name: there is another key "ci"');
  expect((await run('create', 'x', '--budget', 'tokens:5'))[0]).toBe(2);
  expect((await run('create', 'x', '--budget', 'beer/day=5'))[0]).toBe(1);
  expect(err).toContain('limits.budgets.0.meter: must be "requests", "tokens", "cost_cents" or "credits"');
  expect((await run('set', 'ci'))[0]).toBe(2);

  const [, listed] = await run('list');
  expect(listed).toMatch(
    /ci +w2a_\S+… +active +team a .* 60 requests\/min, 2 at a time, 2000 cost cents\/month, 50 requests\/day +2 % of requests\/day/,
  );
  await run(
    'set',
    'ci',
    '--no-expires',
    '--no-requests-per-minute',
    '--budget',
    'credits/total=9.5',
    '--disable',
  );
  expect(await turn(secret)).toBe(401);
  const [, shown] = await run('show', 'ci', '--json');
  expect(JSON.parse(shown)).toMatchObject({
    state: 'disabled',
    owner: 'team a',
    expires_at: null,
    limits: { parallel_turns: 2, time_zone: 'Asia/Shanghai', budgets: [{ meter: 'credits', limit: 9.5 }] },
  });
  expect((await run('show', 'ci'))[1]).toMatch(/used +0 of 9\.5 credits\/total\n/);
  await run('set', 'ci', '--enable');
  const [, next] = await run('rotate', 'ci', '--grace', '0');
  expect([await turn(secret), await turn(next.trim())]).toEqual([401, 200]);
  expect((await run('revoke', 'ci'))[1]).toContain('Revoked the key "ci"');
  expect(await turn(next.trim())).toBe(401);
  expect((await run('list'))[1]).toContain('There is no key');
  expect((await run('list', '--all'))[1]).toContain('revoked');
  expect((await run('show', 'other'))[0]).toBe(1);
  expect(err).toContain('There is no client key "other".');
});
