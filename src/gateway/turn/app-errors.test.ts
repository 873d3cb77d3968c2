import { expect, it } from 'vitest';
import { NotPoolError, PoolError } from '../../pool-api/errors.ts';
import { appErrorFromPool } from './app-errors.ts';

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

it('tells a model that no account may use from accounts that are out', () => {
  const short = (reasons: Record<string, number>) =>
    new PoolError('no_account_available', 'Too few free accounts.', {
      shortage: { matching: 3, reasons, holders: { exclusive: 0, shared: 0, gateway: 0 } },
    });
  const route = { model: 'big', barred: new Set(['one', 'two', 'three']) };
  expect(appErrorFromPool(short({}), route)).toMatchObject({ code: 'model_not_found', param: 'model' });
  expect(appErrorFromPool(short({}), { ...route, labels: ['a', 'b'] }).message).toMatch(
    /^No account labelled a or b may use the model "big": .* the labels of the route or key\.$/,
  );
  expect(appErrorFromPool(short({ disabled: 1 }), route).code).toBe('no_account_available');
  expect(appErrorFromPool(short({}), { model: 'big' }).code).toBe('no_account_available');
});
