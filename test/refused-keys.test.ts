// Keys and tokens that their provider refuses: what the commands say, what is kept, and what the log says of WARP_API_KEY.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';
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
  const warned = (services: TestServices) =>
    services
      .log()
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
    const services = await servicesForTest({ WARP_API_KEY: key });
    expect(warned(services)).toEqual([expect.stringMatching(message)]);
    const isMalformed = message.source.includes('is not a key');
    const health = (await (await fetch(`${services.gatewayUrl}/health`)).json()) as Record<string, unknown>;
    expect(health).toMatchObject({ sandbox: isMalformed, status: isMalformed ? 'ok' : 'degraded' });
    expect(services.log()).not.toContain(key === 'wk-' ? 'wk-"' : key);
  });

  it('is warned of when the owner has disabled or removed its account', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-refused-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const settings = { WARP_API_KEY: 'wk-mine', DATA_DIR: folder };
    const first = await servicesForTest(settings);
    expect(warned(first)).toEqual([]);
    const { accounts } = (await first.pool('/api/accounts')) as { accounts?: { id: string }[] };
    const path = `/api/accounts/${accounts?.[0]?.id}`;
    await first.pool(path, { enabled: false }, 'PATCH');
    const isDisabled = /because its owner has disabled it\. Put it back with "warp2api account enable/;
    await eventually('the log says so', () => warned(first).some((line) => isDisabled.test(line)));
    await first.close();
    const second = await servicesForTest(settings);
    expect(warned(second)).toEqual([expect.stringMatching(isDisabled)]);
    await second.pool(path, undefined, 'DELETE');
    await second.close();
    const third = await servicesForTest(settings);
    expect(warned(third)).toEqual([expect.stringMatching(/its owner has removed it/)]);
  });

  it('is warned of when Warp refuses it later on', async () => {
    const services = await servicesForTest({ WARP_API_KEY: 'wk-mine' });
    services.upstream.setKeyScenario('wk-mine', '401');
    expect((await services.chat(userTurn('auto', 'Hello'))).status).toBe(502);
    await eventually('the log says so', () =>
      warned(services).some((line) => /rejected its key in a turn \(401\)/.test(line)),
    );
  });

  it('is said to be unproved while Warp cannot be reached', async () => {
    const services = await servicesForTest({
      WARP_API_KEY: 'wk-mine',
      WARP_SERVER_URL: `http://127.0.0.1:${await findFreePort()}`,
    });
    expect(warned(services)).toEqual([expect.stringMatching(/^WARP_API_KEY is not proved yet/)]);
  });
});
