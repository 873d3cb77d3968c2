import { expect, test } from 'vitest';
import type { CliActions } from '../src/cli/actions.ts';
import { runProgram } from '../src/cli/program.ts';
import { askGateway } from '../src/compose/ask-gateway.ts';
import { loadConfig } from '../src/config.ts';
import { eventually, servicesForTest, userTurn } from './support/services.ts';

test('commands that ask the gateway take and show accounts by their names', async () => {
  const services = await servicesForTest({ ADMIN_KEY: 'the-operator', API_KEYS: 'of-a-client' });
  const config = loadConfig({ ADMIN_KEY: 'the-operator', DATA_DIR: '/nowhere' });
  let out = '';
  const write = (text: string): void => {
    out += text;
  };
  const actions = {
    askGateway: (path: string, _url: string | undefined, call?: Parameters<typeof askGateway>[3]) =>
      askGateway(config, path, services.gatewayUrl, call),
    write,
    writeError: write,
  } as unknown as CliActions;
  const run = async (words: string) => {
    out = '';
    return [await runProgram(actions, words.split(' ')), out] as const;
  };
  const added = await fetch(`${services.poolUrl}/api/accounts`, {
    method: 'POST',
    headers: { authorization: 'Bearer the-operator', 'content-type': 'application/json' },
    body: JSON.stringify({ provider: 'warp', api_key: 'wk-good', email: 'One@example.com', label: 'work' }),
  });
  const { account } = (await added.json()) as { account: { id: string } };
  const short = account.id.slice(0, 12);
  const client = { authorization: 'Bearer of-a-client', 'x-request-id': 'first' };
  expect((await services.chat(userTurn('auto', 'Hello'), client)).status).toBe(200);

  const [, told] = await run('why first');
  expect(told).toContain(`account One@example.com (${short})\n`);
  const [, explained] = await run('why --model auto');
  expect(explained).toContain(`account One@example.com (${short})\n`);
  const listed = await eventually('the turn is in the ledger', async () => {
    const [, found] = await run('usage --by account');
    return found.includes('One@example.com') && found;
  });
  expect(listed).not.toContain(short);
  for (const name of ['one@EXAMPLE.com', 'work', short.slice(4), account.id])
    expect((await run(`usage --account ${name} --by account`))[1]).toMatch(/^One@example\.com +1 /m);
  expect(await run('usage --account acc_ffffffff')).toEqual([0, expect.stringContaining('No turns.')]);
  expect(await run('usage --account two@example.com')).toEqual([1, expect.stringContaining('account list')]);
});
