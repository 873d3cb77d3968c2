import { join } from 'node:path';
import type { Config } from '../config.ts';
import type { Logger } from '../lib/log/logger.ts';
import { sharedKey } from '../lib/secrets/shared-key-file.ts';

export const gatewayKeyFile = (config: Config): string => join(config.dataDir, 'gateway.key');

/** GATEWAY_KEY; where it is unset, the key that the services of this data folder share. Throws KeyFileError. */
export function gatewayKeyOf(config: Config, logger: Logger): string | undefined {
  if (config.pool.gatewayKey !== undefined) return config.pool.gatewayKey;
  const path = gatewayKeyFile(config);
  const key = sharedKey(path);
  config.secrets.add(key);
  if (key === undefined) {
    logger.warn(
      `${path} can be neither read nor made, so gateways that run apart are ordinary borrowers to the pool: set the same GATEWAY_KEY for both services.`,
    );
  }
  return key;
}
