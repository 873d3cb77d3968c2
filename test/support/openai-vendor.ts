import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { startOpenaiSandbox } from '../../sandbox/openai-chat/server.ts';
import type { VendorOptions, VendorSandbox } from '../../sandbox/vendor/server.ts';
import { servicesForTest, type TestServices } from './services.ts';

export interface VendorSetup extends TestServices {
  readonly vendor: VendorSandbox;
}

/**
 * Both services with a provider of Chat Completions in their configuration file, and an account of it for each key. With the
 * `name` of a preset the server is taken for that vendor.
 */
export async function withVendor(
  keys: readonly string[] = ['sk-one-1234567890'],
  environment: Record<string, string> = {},
  options: VendorOptions = {},
  more = '',
  name = 'local',
): Promise<VendorSetup> {
  const vendor = await startOpenaiSandbox(options);
  onTestFinished(() => vendor.close());
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-openai-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'warp2api.yaml');
  writeFileSync(
    file,
    `providers:\n  ${name}: { type: openai_compatible, base_url: "${vendor.url}" }\n${more}`,
  );
  const services = await servicesForTest({ CONFIG_FILE: file, ...environment });
  for (const key of keys) await services.addAccount(key, { provider: name });
  return { ...services, vendor };
}
