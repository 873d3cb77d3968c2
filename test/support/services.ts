import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import OpenAI from 'openai';
import { onTestFinished } from 'vitest';
import { type Sandbox, type SandboxOptions, startSandbox } from '../../sandbox/index.ts';
import { startServices } from '../../src/compose.ts';
import { type Config, loadConfig } from '../../src/config.ts';
import { createLogger } from '../../src/lib/log/logger.ts';

export interface TestServices {
  readonly gatewayUrl: string;
  readonly poolUrl: string;
  readonly upstream: Sandbox;
  /** Everything logged so far. */
  log(): string;
  openai(options?: { apiKey?: string; maxRetries?: number }): OpenAI;
  chat(body: unknown, headers?: Record<string, string>): Promise<Response>;
  pool(path: string, body?: unknown, method?: string): Promise<Record<string, unknown>>;
  addAccount(key: string, more?: Record<string, unknown>): Promise<string>;
  close(): Promise<void>;
}

/** Two databases with a thread each take three quarters of a start: they are for tests that look at what lasts. */
export const inMemory = {
  DATABASE_URL: 'sqlite::memory:',
  KEEP_URL: 'memory',
  GATEWAY_DATABASE_URL: 'sqlite::memory:',
};

/**
 * Both services as `serve` runs them, on free ports, with Warp played by a sandbox of this test's own. The pool is empty:
 * a test adds what it needs, or leaves it empty and gets the built-in sandbox. What they keep is in memory unless
 * `environment` names a DATA_DIR. `change` sets what the environment cannot, `played` how the sandbox plays Warp: where it
 * speaks TLS, this process trusts its certificate until the services close.
 */
export async function startTestServices(
  environment: Record<string, string> = {},
  change: (config: Config) => Config = (config) => config,
  played: SandboxOptions = {},
): Promise<TestServices> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-test-'));
  const upstream = await startSandbox(played);
  const trusted = getCACertificates('default');
  const { certificate } = upstream.transport;
  if (certificate !== undefined) setDefaultCACertificates([...trusted, certificate]);
  const lines: string[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const config = change(
    loadConfig(
      {
        PORT: '0',
        POOL_SERVICE_PORT: '0',
        DATA_DIR: folder,
        WARP_SERVER_URL: upstream.secureUrl ?? upstream.url,
        SHUTDOWN_SECONDS: '0',
        ...(environment['DATA_DIR'] === undefined ? inMemory : {}),
        ...environment,
      },
      folder,
    ),
  );
  const services = await startServices(
    config,
    'both',
    createLogger('DEBUG', destination, config.secrets),
    (error) => {
      throw error;
    },
  );
  const gatewayUrl = services.gatewayUrl ?? '';
  const poolUrl = services.poolUrl ?? '';
  let isClosed = false;

  const running: TestServices = {
    gatewayUrl,
    poolUrl,
    upstream,
    log: () => lines.join(''),
    openai: (options = {}) =>
      new OpenAI({ baseURL: `${gatewayUrl}/v1`, apiKey: 'any', maxRetries: 0, ...options }),
    chat: (body, headers = {}) =>
      fetch(`${gatewayUrl}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      }),
    async pool(path, body, method = body === undefined ? 'GET' : 'POST') {
      const answer = await fetch(`${poolUrl}${path}`, {
        method,
        headers: { 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { httpStatus: answer.status, ...((await answer.json()) as Record<string, unknown>) };
    },
    async addAccount(key, more = {}) {
      const answer = await running.pool('/api/accounts', { provider: 'warp', api_key: key, ...more });
      if (answer['httpStatus'] !== 201) throw new Error(JSON.stringify(answer));
      return (answer['account'] as { id: string }).id;
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      await services.close();
      await upstream.close();
      if (certificate !== undefined) setDefaultCACertificates(trusted);
      rmSync(folder, { recursive: true });
    },
  };
  return running;
}

/** The same, closed when the test that asked for it ends. */
export async function servicesForTest(...given: Parameters<typeof startTestServices>): Promise<TestServices> {
  const services = await startTestServices(...given);
  onTestFinished(() => services.close());
  return services;
}

export function userTurn(model: string, content: string, more: Record<string, unknown> = {}) {
  return { model, messages: [{ role: 'user' as const, content }], ...more };
}

/** Waits for something another process or task brings about, on a busy machine too; fails with `what` when it does not come. */
export async function eventually<Value>(
  what: string,
  look: () => Value | undefined | false | Promise<Value | undefined | false>,
  timeoutMs = 60_000,
): Promise<Value> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await look();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`It did not come to pass in ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
