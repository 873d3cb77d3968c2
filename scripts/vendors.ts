// The simulated vendors as providers of a gateway, for scripts that drive programs of others against it.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startAnthropicSandbox } from '../sandbox/anthropic/server.ts';
import { startGeminiSandbox } from '../sandbox/gemini/server.ts';
import { startOpenaiSandbox } from '../sandbox/openai-chat/server.ts';
import { startResponsesSandbox } from '../sandbox/openai-responses/server.ts';
import type { VendorSandbox } from '../sandbox/vendor/server.ts';

export const vendorNames = ['chat', 'responses', 'anthropic', 'gemini'] as const;
export type VendorName = (typeof vendorNames)[number];

/** Behind each prefix of a model's name stand the scenarios of `sandbox/vendor/scenarios.ts`. */
const kinds = {
  chat: { start: startOpenaiSandbox, prefix: 'chat', fields: { type: 'openai_compatible' } },
  responses: {
    start: startResponsesSandbox,
    prefix: 'gpt',
    fields: { type: 'openai_compatible', protocols: ['responses'] },
  },
  anthropic: { start: startAnthropicSandbox, prefix: 'claude', fields: { type: 'anthropic_compatible' } },
  gemini: { start: startGeminiSandbox, prefix: 'gemini', fields: { type: 'gemini' } },
} as const;

export interface Vendors<Name extends VendorName> {
  readonly sandboxes: Readonly<Record<Name, VendorSandbox>>;
  /** Settings with which the gateway knows them all, with an account at each. */
  readonly environment: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export function modelOf(vendor: VendorName, scenario: string): string {
  return `${kinds[vendor].prefix}-${scenario}`;
}

export async function startVendors<Name extends VendorName>(
  folder: string,
  names: readonly Name[],
): Promise<Vendors<Name>> {
  const started = await Promise.all(names.map(async (name) => [name, await kinds[name].start({})] as const));
  const providers = Object.fromEntries(
    started.map(([name, { url }]) => [name, { ...kinds[name].fields, base_url: url }]),
  );
  const file = join(folder, 'vendors.yaml');
  // JSON is YAML too.
  writeFileSync(file, JSON.stringify({ providers }));
  const keys = names.map((name) => [`${name.toUpperCase()}_API_KEY`, 'sk-one-1234567890']);
  return {
    sandboxes: Object.fromEntries(started) as Record<Name, VendorSandbox>,
    environment: {
      CONFIG_FILE: file,
      ACCOUNTS_FROM_ENV: names.join(','),
      ...Object.fromEntries(keys),
    },
    close: async () => {
      await Promise.all(started.map(([, sandbox]) => sandbox.close()));
    },
  };
}
