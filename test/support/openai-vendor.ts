import type { VendorOptions, VendorSandbox } from '../../sandbox/vendor/server.ts';
import type { TestServices } from './services.ts';
import { withUpstreams } from './upstreams.ts';

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
  const upstreams: Record<string, { protocol: 'chat'; keys: readonly string[]; options: VendorOptions }> = {
    [name]: { protocol: 'chat', keys, options },
  };
  const { vendors, ...services } = await withUpstreams(upstreams, more, environment);
  const vendor = vendors[name];
  if (vendor === undefined) throw new Error('it was not started');
  return { ...services, vendor };
}
