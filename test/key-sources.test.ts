import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Sandbox, startSandbox } from '../sandbox/index.ts';
import { createOpenAiKeyIssuer, createOpenRouterKeyIssuer } from '../src/providers/key-issuers.ts';
import { testHttp } from '../src/providers/testing/test-http.ts';
import { startProcess } from './support/process.ts';
import { sendJson, withScripted } from './support/scripted-vendor.ts';
import { eventually, userTurn } from './support/services.ts';

async function sandboxForTest(): Promise<Sandbox> {
  const sandbox = await startSandbox();
  onTestFinished(() => sandbox.close());
  return sandbox;
}

const vendors = ['openrouter', 'openai'] as const;
const makeCall = {
  openrouter: 'POST /api/v1/keys',
  openai: 'POST /v1/organization/projects/{project}/service_accounts',
};
const deleteCall = {
  openrouter: 'DELETE /api/v1/keys/{hash}',
  openai: 'DELETE /v1/organization/projects/{project}/service_accounts/{id}',
};

function issuerOf(vendor: (typeof vendors)[number], sandbox: Sandbox, adminKey = sandbox.keys.adminKey) {
  const options = { adminKey, baseUrl: sandbox.url, http: testHttp, userAgent: 'warp2api/test' };
  return vendor === 'openrouter'
    ? createOpenRouterKeyIssuer({ ...options, limit: 20, limitReset: 'monthly' })
    : createOpenAiKeyIssuer({ ...options, projectId: 'proj_1' });
}

describe.each(vendors)("%s's key-management API", (vendor) => {
  it('makes a key, finds it by its name over pages, and deletes it once', async () => {
    const sandbox = await sandboxForTest();
    const issuer = issuerOf(vendor, sandbox);
    for (let number = 0; number < 250; number += 1) await issuer.issue(`key-${number}`);
    const { apiKey, handle } = await issuer.issue('last');
    expect(sandbox.keys.keys.at(-1)).toMatchObject({ vendor, key: apiKey, handle, name: 'last' });
    if (vendor === 'openrouter') {
      expect(sandbox.keys.keys.at(-1)).toMatchObject({ limit: 20, limitReset: 'monthly' });
    }
    expect(await issuer.find('last')).toBe(handle);
    expect(await issuer.find('nobody')).toBeNull();
    await issuer.revoke(handle);
    await issuer.revoke(handle);
    expect(sandbox.keys.keys.filter((key) => key.deleted).map((key) => key.name)).toEqual(['last']);
    expect(await issuer.find('last')).toBeNull();
  });

  it.each([
    ['429', 'upstream_rate_limited'],
    ['403', 'upstream_refused'],
    ['400', 'invalid_request'],
    ['404', 'invalid_request'],
    ['500', 'upstream_unavailable'],
    ['reset-after', 'upstream_unavailable'],
    ['garbage', 'upstream_protocol'],
  ] as const)('answering with %s is the error %s', async (kind, code) => {
    const sandbox = await sandboxForTest();
    sandbox.tokens.fail({ kind, path: makeCall[vendor] });
    await expect(issuerOf(vendor, sandbox).issue('one')).rejects.toMatchObject({ code });
  });

  it('does not open to another key, and the error does not show it', async () => {
    const sandbox = await sandboxForTest();
    const failure = await issuerOf(vendor, sandbox, 'sk-wrong-admin')
      .issue('one')
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'upstream_unauthorized' });
    expect(String(failure)).not.toContain('sk-wrong-admin');
  });
});

/** A pool of its own process over one vendor's source. */
async function poolOver(
  vendor: (typeof vendors)[number],
  sandbox: Sandbox,
  environment: Record<string, string> = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-keys-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const source =
    vendor === 'openrouter'
      ? '{type: openrouter_keys, limit: 5, admin_key_env: ADMIN, base_url: URL}'
      : '{type: openai_service_accounts, project_id: proj_1, admin_key_file: admin.key, base_url: URL}';
  const check = vendor === 'openrouter' ? '/api/v1/key' : '/v1/models';
  writeFileSync(join(folder, 'admin.key'), `${sandbox.keys.adminKey}\n`);
  writeFileSync(
    join(folder, 'warp2api.yaml'),
    `providers: {${vendor}: {type: api_key, check_url: "URL${check}"}}\nsources: [${source}]\n`.replaceAll(
      'URL',
      sandbox.url,
    ),
  );
  const start = async () => {
    const given = {
      DATA_DIR: folder,
      POOL_SERVICE_PORT: '0',
      ADMIN: sandbox.keys.adminKey,
      MIN_POOL_SIZE: '0',
    };
    const pool = await startProcess(['serve', 'pool'], { ...given, ...environment }, folder);
    const call = async (method: string, path: string, body?: unknown) => {
      const answer = await fetch(`${pool.url}/api/accounts${path}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      // biome-ignore lint/suspicious/noExplicitAny: the answers are looked at field by field
      return (await answer.json()) as any;
    };
    return { pool, call };
  };
  return start;
}

const live = (sandbox: Sandbox) => sandbox.keys.keys.filter((key) => !key.deleted);

describe.each(vendors)('a pool filled by %s', (vendor) => {
  it('answers turns of the gateway over the keys that were made', async () => {
    const sandbox = await sandboxForTest();
    const source =
      vendor === 'openrouter'
        ? 'type: openrouter_keys, limit: 5'
        : 'type: openai_service_accounts, project_id: proj_1';
    const services = await withScripted(
      ({ path, json }, response) => {
        const isChat = path === '/v1/chat/completions';
        const choices = [{ index: 0, finish_reason: 'stop', message: { content: 'Hello.' } }];
        sendJson(response, isChat ? { model: json['model'], choices } : { error: { message: 'No.' } });
      },
      {
        name: vendor,
        keys: [],
        environment: { ADMIN: sandbox.keys.adminKey, MIN_POOL_SIZE: '0' },
        more: `sources: [{${source}, admin_key_env: ADMIN, base_url: "${sandbox.url}"}]\n`,
      },
    );
    expect(await services.pool('/api/accounts/replenish', { count: 1 })).toMatchObject({ added: 1 });
    const answer = await services.openai().chat.completions.create(userTurn(`${vendor}/m`, 'Hi'));
    expect(answer.choices[0]?.message.content).toBe('Hello.');
    expect(services.requests.at(-1)?.headers['authorization']).toBe(`Bearer ${sandbox.keys.keys[0]?.key}`);
  });

  it('makes keys, lends them, and deletes a key at the vendor when its account is removed', async () => {
    const sandbox = await sandboxForTest();
    const { pool, call } = await (await poolOver(vendor, sandbox))();
    expect(await call('POST', '/replenish', { count: 4 })).toMatchObject({ added: 4, failed: 0 });
    const { accounts } = await call('GET', '');
    expect(accounts.map((one: { status: string; provider: string }) => [one.status, one.provider])).toEqual(
      Array.from({ length: 4 }, () => ['active', vendor]),
    );
    const lease = await call('POST', '/allocate', { provider: vendor });
    expect(live(sandbox).map((key) => key.key)).toContain(lease.accounts[0].id_token);

    sandbox.tokens.fail({ kind: '500', path: deleteCall[vendor] });
    await call('DELETE', `/${accounts[0].id}`);
    await call('DELETE', `/${accounts[1].id}`);
    expect(
      live(sandbox)
        .map((key) => key.name)
        .sort(),
    ).toEqual([accounts[0], accounts[2], accounts[3]].map((one: { label: string }) => one.label).sort());
    const output = pool.output();
    for (const { key } of sandbox.keys.keys) expect(output).not.toContain(key);
    expect(output).not.toContain(sandbox.keys.adminKey);
  });

  it('killed while the vendor makes a key keeps its accounts, and starts again', async () => {
    const sandbox = await sandboxForTest();
    const start = await poolOver(vendor, sandbox);
    const first = await start();
    await first.call('POST', '/replenish', { count: 1 });
    sandbox.tokens.fail({ kind: 'hang-after', path: makeCall[vendor] });
    const broken = first.call('POST', '/replenish', { count: 1 }).catch(() => undefined);
    await eventually('the vendor has made it', () => sandbox.keys.keys.length === 2);
    await first.pool.kill('SIGKILL');
    await broken;
    const { call } = await start();
    expect((await call('GET', '')).total).toBe(1);
    expect(live(sandbox)).toHaveLength(2);
  });
});
