import Anthropic from '@anthropic-ai/sdk';
import type { VendorOptions, VendorSandbox } from '../../sandbox/vendor/server.ts';
import type { TestServices } from './services.ts';
import { withUpstreams } from './upstreams.ts';

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
  const upstreams = { anthropic: { protocol: 'messages' as const, keys, options } };
  const { vendors, ...services } = await withUpstreams(upstreams, more, environment);
  const anthropic = () => new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  return { ...services, vendor: vendors.anthropic, anthropic };
}
