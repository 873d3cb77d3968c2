import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { type ServiceProcess, startProcess } from './support/process.ts';
import { eventually } from './support/services.ts';

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function call(url: string, body?: unknown): Promise<Answer> {
  const answer = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

/** Both services in a process of their own. */
async function startServices() {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-disk-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const environment = { PORT: '0', POOL_SERVICE_PORT: '0', DATA_DIR: folder, WARP_SERVER_URL: upstream.url };
  const service = await startProcess(['serve'], environment, folder);
  const pool = /"url":"([^"]+)"[^\n]*the account pool listens/.exec(service.output())?.[1] ?? '';
  return {
    service,
    folder,
    gateway: service.url,
    pool,
    health: async () => [(await call(`${service.url}/health`)).body, (await call(`${pool}/health`)).body],
    add: (key: string) => call(`${pool}/api/accounts`, { provider: 'warp', api_key: key }),
    async countAccounts() {
      return ((await call(`${pool}/api/accounts`)).body['accounts'] as unknown[]).length;
    },
    turn: (content: string) =>
      call(`${service.url}/v1/chat/completions`, { model: 'auto', messages: [{ role: 'user', content }] }),
  };
}

/** No file of the process can be written to at or beyond that offset, as if there were no room for it. */
function limitFiles({ child }: ServiceProcess, bytes: string): void {
  execFileSync('prlimit', [`--pid=${child.pid}`, `--fsize=${bytes}:`]);
}

// Windows and macOS have no way to take a running process its disk.
describe.skipIf(process.platform !== 'linux')('services whose disk takes nothing any more', () => {
  test('say so, go on with turns, lose no account, and recover without a restart', async () => {
    const services = await startServices();
    const { service, folder } = services;
    for (const key of ['wk-1.one', 'wk-1.two']) expect((await services.add(key)).status).toBe(201);
    expect((await services.turn('Hello')).status).toBe(200);
    const whole = [
      {
        status: 'ok',
        pool: { writable: true },
        keep: { store: 'sqlite', reachable: true },
        log: { writable: true },
      },
      { status: 'ok', store: { writable: true }, log: { writable: true } },
    ];
    expect(await services.health()).toMatchObject(whole);

    limitFiles(service, '0');
    const refused = await services.add('wk-1.three');
    expect(refused).toMatchObject({ status: 503, body: { error: { code: 'pool_unavailable' } } });
    for (let count = 0; count < 5; count += 1) {
      expect(await services.turn(`Turn ${count}`)).toMatchObject({ status: 200 });
    }
    await eventually('the health says so', async () => {
      const [gateway, pool] = await services.health();
      const { keep, pool: ofGateway } = gateway as { keep: object; pool: object };
      return (
        'writable' in keep &&
        JSON.stringify(ofGateway).includes('"writable":false') &&
        pool?.['status'] === 'degraded'
      );
    });
    expect(await services.health()).toMatchObject([
      { status: 'degraded', keep: { store: 'sqlite', reachable: true, writable: false } },
      { status: 'degraded', store: { writable: false } },
    ]);
    const isDegraded = async () =>
      /^warp2api_gateway_degraded (\d)$/m.exec(await (await fetch(`${service.url}/metrics`)).text())?.[1];
    expect(await isDegraded()).toBe('1');

    limitFiles(service, 'unlimited');
    await eventually('all is well again', async () => {
      const [gateway, pool] = await services.health();
      return gateway?.['status'] === 'ok' && pool?.['status'] === 'ok';
    });
    expect(await isDegraded()).toBe('0');
    expect((await services.add('wk-1.three')).status).toBe(201);
    expect(await services.countAccounts()).toBe(3);
    expect((await services.turn('And now?')).status).toBe(200);

    // Changes that are only in a file that no process finds again are not accepted.
    renameSync(join(folder, 'accounts.db'), join(folder, 'moved.db'));
    const lost = await services.add('wk-1.four');
    expect(lost.status).toBe(503);
    expect(service.output()).toContain('was deleted, or replaced by another file');
    expect((await services.health())[1]).toMatchObject({ status: 'degraded', store: { writable: false } });
    renameSync(join(folder, 'moved.db'), join(folder, 'accounts.db'));
    expect((await services.add('wk-1.four')).status).toBe(201);
    expect(await service.kill('SIGTERM')).toBe(0);
  });

  test('go on while their log cannot be written', async () => {
    const services = await startServices();
    // Whoever reads the log has gone.
    services.service.child.stdout?.destroy();
    for (let count = 0; count < 5; count += 1)
      expect((await services.turn(`Turn ${count}`)).status).toBe(200);
    expect(await services.health()).toMatchObject([
      { status: 'degraded', log: { writable: false } },
      { status: 'degraded', log: { writable: false } },
    ]);
    expect(await services.service.kill('SIGTERM')).toBe(0);
  });
});
