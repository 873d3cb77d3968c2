// Keys and tokens that their provider refuses: what the commands say, what is kept, and what the log says of WARP_API_KEY.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { eventually } from './support/services.ts';
import { createWorkplace } from './support/workplace.ts';

const add = 'account add --provider warp --api-key';

describe.each(['while no service runs', 'while the services run'])('commands %s', (when) => {
  it('add no key that the provider refuses, unless told to keep it', async () => {
    const { folder, upstream, run, serve } = await createWorkplace();
    if (when === 'while the services run') await serve();
    const refused = await run(`${add} wk-1.revoked`);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(
      /^warp2api: warp refuses this API key: the provider does not accept its credential \(401\)\. The account was not added \(--keep/,
    );
    // Nothing was spoiled for those who only try the service out.
    expect(JSON.parse((await run('status --json')).stdout)).toMatchObject({
      sandbox: when === 'while the services run',
      pool_stats: { total: 0 },
    });
    if (when === 'while the services run') return;

    const kept = await run(`${add} wk-2.refused --keep --json`);
    const { id } = JSON.parse(kept.stdout) as { id: string };
    expect([kept.code, JSON.parse(kept.stdout)]).toEqual([
      0,
      expect.objectContaining({ status: 'reauth_required' }),
    ]);
    expect(await run(`account enable ${id}`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('refuses the account (403)'),
    });
    const replace = `account replace ${id} --api-key`;
    expect(await run(`${replace} wk-3.revoked`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('The account keeps the one it has'),
    });
    expect((await run(`${replace} wk-good`)).stdout).toMatch(/status +active/);

    writeFileSync(join(folder, 'some.jsonl'), '{"provider":"warp","api_key":"wk-4.revoked"}\nnothing\n');
    const imported = await run('account import some.jsonl');
    expect(imported).toMatchObject({ code: 1, stderr: expect.stringContaining('2 of 2 lines failed') });
    expect(imported.stdout).toMatch(/^1 +rejected +acc_\S+ +the provider does not take/m);
    expect(imported.stdout).toMatch(/^2 +failed +- +is not valid JSON/m);
    expect(imported.stdout).toMatch(/1 of these was refused by the provider and kept, out of service/);

    await upstream.close();
    const away = await run(`${add} wk-5`);
    expect(away).toMatchObject({ code: 0, stderr: '' });
    expect(away.stdout).toMatch(/status +active\n(.*\n)*It is not proved yet: warp could not be asked/);
  });
});

describe('WARP_API_KEY', () => {
  const warned = (output: string) =>
    output
      .split('\n')
      .filter((line) => line.includes('WARP_API_KEY') && line.includes('"level":"warn"'))
      .map((line) => (JSON.parse(line) as { msg: string }).msg);

  it.each([
    [
      'wk-1.revoked',
      /^WARP_API_KEY answers no turn, because the provider does not accept its credential \(401\)/,
    ],
    ['wk-1.refused', /^WARP_API_KEY answers no turn, because the provider refuses the account \(403\)/],
    ['wk-', /^WARP_API_KEY is not a key, .* only its prefix; paste the whole key/],
    ['wk-two words', /^WARP_API_KEY is not a key, .*paste it again/],
  ])('is warned of at the start when it is %s, and the services run', async (key, message) => {
    const { serve } = await createWorkplace();
    const service = await serve([], { WARP_API_KEY: key });
    expect(warned(service.output())).toEqual([expect.stringMatching(message)]);
    const isMalformed = message.source.includes('is not a key');
    const health = (await (await fetch(`${service.url}/health`)).json()) as Record<string, unknown>;
    expect(health).toMatchObject({ sandbox: isMalformed, status: isMalformed ? 'ok' : 'degraded' });
    expect(service.output()).not.toContain(key === 'wk-' ? 'wk-"' : key);
  });

  it('is warned of when the owner has disabled or removed its account', async () => {
    const { run, serve } = await createWorkplace();
    const settings = { WARP_API_KEY: 'wk-mine' };
    const first = await serve([], settings);
    expect(warned(first.output())).toEqual([]);
    const { accounts } = JSON.parse((await run('account list --json')).stdout) as {
      accounts: { id: string }[];
    };
    const id = accounts[0]?.id ?? '';
    await run(`account disable ${id}`);
    const isDisabled = /because its owner has disabled it\. Put it back with "warp2api account enable/;
    await eventually('the log says so', () => warned(first.output()).some((line) => isDisabled.test(line)));
    await first.kill('SIGTERM');
    const second = await serve([], settings);
    expect(warned(second.output())).toEqual([expect.stringMatching(isDisabled)]);
    await run(`account remove ${id}`);
    await second.kill('SIGTERM');
    const third = await serve([], settings);
    expect(warned(third.output())).toEqual([expect.stringMatching(/its owner has removed it/)]);
  });

  it('is warned of when Warp refuses it later on', async () => {
    const { upstream, serve } = await createWorkplace();
    const service = await serve([], { WARP_API_KEY: 'wk-mine' });
    upstream.setKeyScenario('wk-mine', '401');
    const turn = await fetch(`${service.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] }),
    });
    expect(turn.status).toBe(502);
    await eventually('the log says so', () =>
      warned(service.output()).some((line) => /rejected its key in a turn \(401\)/.test(line)),
    );
  });

  it('is said to be unproved while Warp cannot be reached', async () => {
    const { upstream, serve } = await createWorkplace();
    await upstream.close();
    const service = await serve([], { WARP_API_KEY: 'wk-mine' });
    expect(warned(service.output())).toEqual([expect.stringMatching(/^WARP_API_KEY is not proved yet/)]);
  });
});
