import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { usePython } from './support/python.ts';
import { servicesForTest, type TestServices } from './support/services.ts';

/** examples/python against a real pool, by the Python of this machine. */

const folder = resolve(import.meta.dirname, '../examples/python');

const runPython = usePython();
const runScript = (services: TestServices, script: string) =>
  runPython(['-c', script], { POOL_SERVICE_URL: services.poolUrl });

const start = `
import json, os, sys, threading, time
from account_pool_client import *
url = os.environ["POOL_SERVICE_URL"]
`;

async function stats(services: TestServices) {
  const { active_sessions, pool_stats } = await services.pool('/api/accounts/status');
  return { active_sessions, in_use: (pool_stats as Record<string, number>)['in_use'] };
}

describe('the Python client', () => {
  it('runs as a program', async () => {
    const services = await servicesForTest();
    const id = await services.addAccount('wk-1.abc');
    const output = await runPython([join(folder, 'account_pool_client.py')], {
      POOL_SERVICE_URL: services.poolUrl,
    });
    expect(output).toContain(`${id}  warp  active  bearer expires: never`);
    expect(output).toContain('gave 1 back');
    expect(output).not.toContain('wk-1.abc');
    expect(await stats(services)).toEqual({ active_sessions: 0, in_use: 0 });
  });

  it('borrows and gives back with two functions', async () => {
    const services = await servicesForTest();
    await services.addAccount('wk-1.abc');
    await services.addAccount('wk-2.abc');
    const script = `${start}
answer = allocate_accounts_sync(url, count=2, provider="warp")
again = allocate_accounts_sync(url, session_id=answer["session_id"], count=2)
print(json.dumps([
    sorted(account["id_token"] for account in answer["accounts"]),
    [account["fence"] for account in again["accounts"]] == [account["fence"] for account in answer["accounts"]],
    release_accounts_sync(answer["session_id"], pool_url=url)["released"],
    release_accounts_sync(answer["session_id"], pool_url=url)["released"],
]))`;
    expect(JSON.parse(await runScript(services, script))).toEqual([['wk-1.abc', 'wk-2.abc'], true, 2, 0]);
    expect(await stats(services)).toEqual({ active_sessions: 0, in_use: 0 });
  });

  it('gives back at the end of a with block that fails, and its reports arrive', async () => {
    const services = await servicesForTest();
    const id = await services.addAccount('wk-1.abc');
    const script = `${start}
try:
    with AccountPoolClient(url) as pool, pool.session(ttl_seconds=60) as session:
        fence = session.accounts[0]["fence"]
        session.renew()
        result = session.report(session.accounts[0], "success", usage={"input_tokens": 7})
        print(json.dumps([session.accounts[0]["fence"] == fence, result["result"], result["status"]]))
        raise RuntimeError("work failed")
except RuntimeError as error:
    print(error)`;
    expect(await runScript(services, script)).toBe('[true, "applied", "active"]\nwork failed\n');
    expect(await stats(services)).toEqual({ active_sessions: 0, in_use: 0 });
    const { account } = await services.pool(`/api/accounts/${id}`);
    expect(account).toMatchObject({ usage: { turns: 1, input_tokens: 7 } });
  });

  it('raises the code and what helps', async () => {
    const services = await servicesForTest();
    await services.addAccount('wk-1.abc');
    const script = `${start}
def code_of(call):
    try:
        call()
    except PoolError as error:
        return [error.code, error.status, error.param, error.retry_after is not None, error.shortage and error.shortage["reasons"]]
pool = AccountPoolClient(url, retries=0)
held = pool.allocate()
print(json.dumps([
    code_of(lambda: pool.allocate()),
    code_of(lambda: pool.allocate(colour="red")),
    code_of(lambda: AccountPoolClient("http://127.0.0.1:1", retries=0).status()),
]))
pool.release(held["session_id"])`;
    expect(JSON.parse(await runScript(services, script))).toEqual([
      ['no_account_available', 503, null, true, { leased: 1 }],
      ['unknown_field', 400, 'colour', false, null],
      ['pool_unavailable', null, null, true, null],
    ]);
  });

  it('asks again after the Retry-After of a 503, within its time', async () => {
    const services = await servicesForTest();
    await services.addAccount('wk-1.abc');
    const script = `${start}
holder = AccountPoolClient(url)
held = holder.allocate(ttl_seconds=2)
began = time.monotonic()
answer = AccountPoolClient(url, max_wait=10).allocate()
print(json.dumps([len(answer["accounts"]), 1 < time.monotonic() - began < 8]))
holder.release(answer["session_id"])`;
    expect(JSON.parse(await runScript(services, script))).toEqual([1, true]);
  });
});
