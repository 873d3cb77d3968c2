import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import { onTestFinished } from 'vitest';
import { startAnthropicSandbox } from '../../sandbox/anthropic/server.ts';
import type { VendorOptions, VendorSandbox } from '../../sandbox/vendor/server.ts';
import { servicesForTest, type TestServices } from './services.ts';

export interface AnthropicSetup extends TestServices {
  readonly vendor: VendorSandbox;
  anthropic(): Anthropic;
}

/** Both services with Anthropic played by a sandbox, and an account of it for each key. `more`: of the configuration file. */
export async function withAnthropic(
  keys: readonly string[] = ['sk-ant-one-1234567890'],
  environment: Record<string, string> = {},
  options: VendorOptions = {},
  more = '',
): Promise<AnthropicSetup> {
  const vendor = await startAnthropicSandbox(options);
  onTestFinished(() => vendor.close());
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-anthropic-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'warp2api.yaml');
  writeFileSync(
    file,
    `providers:\n  anthropic: { type: anthropic_compatible, base_url: "${vendor.url}/v1" }\n${more}`,
  );
  const services = await servicesForTest({ CONFIG_FILE: file, ...environment });
  for (const key of keys) await services.addAccount(key, { provider: 'anthropic' });
  const anthropic = () => new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  return { ...services, vendor, anthropic };
}
