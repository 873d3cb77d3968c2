import { expect, it } from 'vitest';
import { NotPoolError } from '../pool-api/answer-error.ts';
import { PoolError } from '../pool-api/errors.ts';
import { appErrorFromPool } from './pool-fault.ts';

it.each([
  [new PoolError('pool_unavailable', 'secret address'), /cannot be reached.*POOL_SERVICE_URL/],
  [
    new PoolError('not_found', 'There is nothing at POST /api/api/secret.'),
    /POOL_SERVICE_URL is not the account pool.*path/,
  ],
  [new PoolError('method_not_allowed', 'secret'), /POOL_SERVICE_URL is not the account pool/],
  [new NotPoolError('secret address'), /POOL_SERVICE_URL is not the account pool/],
  [new PoolError('invalid_key', 'x'), /POOL_API_KEY/],
  [new PoolError('host_not_allowed', 'x'), /ALLOWED_HOSTS/],
])('%s is said with the setting at fault', (error, message) => {
  const { code, message: said } = appErrorFromPool(error);
  expect([code, said]).toEqual(['pool_unavailable', expect.stringMatching(message)]);
  expect(said).not.toContain('secret');
});
