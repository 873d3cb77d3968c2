// Both services over simulated vendors of any protocol.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { startAnthropicSandbox } from '../../sandbox/anthropic/server.ts';
import { startGeminiSandbox } from '../../sandbox/gemini/server.ts';
import { startOpenaiSandbox } from '../../sandbox/openai-chat/server.ts';
import { startResponsesSandbox } from '../../sandbox/openai-responses/server.ts';
import type { VendorOptions, VendorSandbox } from '../../sandbox/vendor/server.ts';
import { startTestServices, type TestServices } from './services.ts';

export const protocols = ['chat', 'responses', 'messages', 'gemini'] as const;
export type Protocol = (typeof protocols)[number];

interface Kind {
  start(options: VendorOptions): Promise<VendorSandbox>;
  /** In front of the name of a scenario. */
  readonly models: string;
  /** Its fields in warp2api.yaml, beside the base URL. */
  readonly fields: string;
}

const kinds: Readonly<Record<Protocol, Kind>> = {
  chat: { start: startOpenaiSandbox, models: 'chat', fields: 'type: openai_compatible' },
  responses: {
    start: startResponsesSandbox,
    models: 'gpt',
    fields: 'type: openai_compatible, protocols: [responses]',
  },
  messages: { start: startAnthropicSandbox, models: 'claude', fields: 'type: anthropic_compatible' },
  gemini: { start: startGeminiSandbox, models: 'gemini', fields: 'type: gemini' },
};

/** The name of a scenario's model. */
export function modelOf(protocol: Protocol, scenario: string): string {
  return `${kinds[protocol].models}-${scenario}`;
}

export interface Upstream {
  readonly protocol: Protocol;
  readonly options?: VendorOptions;
  /** One account for each. */
  readonly keys?: readonly string[];
}

export interface UpstreamServices<Name extends string> extends TestServices {
  readonly vendors: Readonly<Record<Name, VendorSandbox>>;
}

/** A simulated vendor for each provider's name; `yaml` is the rest of the configuration file. */
export async function startUpstreams<Name extends string>(
  upstreams: Readonly<Record<Name, Upstream>>,
  yaml = '',
  environment: Record<string, string> = {},
): Promise<UpstreamServices<Name>> {
  const entries = Object.entries(upstreams) as [Name, Upstream][];
  const started = await Promise.all(
    entries.map(
      async ([name, { protocol, options = {} }]) => [name, await kinds[protocol].start(options)] as const,
    ),
  );
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-upstreams-'));
  const file = join(folder, 'warp2api.yaml');
  const lines = started.map(
    ([name, { url }]) => `  ${name}: { ${kinds[upstreams[name].protocol].fields}, base_url: "${url}" }\n`,
  );
  writeFileSync(file, `providers:\n${lines.join('')}${yaml}`);
  const services = await startTestServices({ CONFIG_FILE: file, ...environment });
  for (const [name, { keys = ['sk-one-1234567890'] }] of entries) {
    for (const key of keys) await services.addAccount(key, { provider: name });
  }
  return {
    ...services,
    vendors: Object.fromEntries(started) as Record<Name, VendorSandbox>,
    async close() {
      await services.close();
      await Promise.all(started.map(([, vendor]) => vendor.close()));
      rmSync(folder, { recursive: true });
    },
  };
}

/** The same, closed when the test that asked for it ends. */
export async function withUpstreams<Name extends string>(
  ...given: Parameters<typeof startUpstreams<Name>>
): Promise<UpstreamServices<Name>> {
  const services = await startUpstreams(...given);
  onTestFinished(() => services.close());
  return services;
}
