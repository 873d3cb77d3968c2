import { expectTypeOf, it } from 'vitest';
import {
  AccountPoolClient,
  type AccountSession,
  type AllocateRequest,
  type Bearer,
  type BlockLease,
  isPoolError,
  type LeaseBlock,
  type LeasedAccount,
  type LeaseLoss,
  PoolError,
  type PoolErrorCode,
  type PoolEvent,
  type PoolNews,
  type ReleaseAnswer,
  type Report,
  type ReportAnswer,
  type StatusAnswer,
} from './client.ts';
import type { poolErrorCodes } from './errors.ts';

/** The public surface of `warp2api/pool-client`: checked by the compiler, nothing of it runs. */

it('has a closed list of error codes', () => {
  expectTypeOf<PoolErrorCode>().toEqualTypeOf<keyof typeof poolErrorCodes>();
  expectTypeOf<string>().not.toExtend<PoolErrorCode>();
  expectTypeOf<PoolError['code']>().toEqualTypeOf<PoolErrorCode>();
  const error: unknown = new PoolError('internal', 'x');
  if (isPoolError(error, 'no_account_available', 'forbidden')) {
    expectTypeOf(error.code).toEqualTypeOf<'no_account_available' | 'forbidden'>();
    expectTypeOf(error.retryAfterMs).toEqualTypeOf<number | undefined>();
  }
});

it('borrows, reports and releases', () => {
  type Client = AccountPoolClient;
  expectTypeOf(AccountPoolClient).toBeConstructibleWith({
    baseUrl: 'http://localhost:8019',
    apiKey: undefined,
  });
  expectTypeOf<Client['allocate']>().parameter(0).toEqualTypeOf<AllocateRequest | undefined>();
  expectTypeOf<Client['allocate']>().returns.resolves.toEqualTypeOf<AccountSession>();
  expectTypeOf<Client['release']>().returns.resolves.toEqualTypeOf<ReleaseAnswer>();
  expectTypeOf<Client['report']>().parameter(1).toEqualTypeOf<readonly Report[]>();
  expectTypeOf<Client['report']>().returns.resolves.toEqualTypeOf<ReportAnswer>();
  expectTypeOf<Client['status']>().returns.resolves.toEqualTypeOf<StatusAnswer>();
  expectTypeOf<Client>().toExtend<AsyncDisposable>();
  expectTypeOf<AllocateRequest>().toEqualTypeOf<{
    session_id?: string | undefined;
    count?: number | undefined;
    provider?: string | undefined;
    model?: string | undefined;
    labels?: string[] | undefined;
    exclusive?: boolean | undefined;
    slots?: number | undefined;
    ttl_seconds?: number | undefined;
    wait_ms?: number | undefined;
    exclude?: string[] | undefined;
    prefer?: string | undefined;
  }>();
});

it('has sessions that give bearers', () => {
  expectTypeOf<AccountSession>().toExtend<AsyncDisposable>();
  expectTypeOf<AccountSession['accounts']>().toEqualTypeOf<readonly LeasedAccount[]>();
  expectTypeOf<AccountSession['token']>().returns.resolves.toEqualTypeOf<Bearer>();
  expectTypeOf<Bearer['expiresAt']>().toEqualTypeOf<Date | null>();
  expectTypeOf<AccountSession['onLost']>().parameter(0).parameter(0).toEqualTypeOf<LeaseLoss>();
  expectTypeOf<LeaseLoss['reason']>().toEqualTypeOf<
    'session_expired' | 'lease_ended' | 'token_lapsed' | 'refused'
  >();
});

it('has blocks that hand out turns', () => {
  expectTypeOf<AccountPoolClient['block']>().returns.toEqualTypeOf<LeaseBlock>();
  expectTypeOf<LeaseBlock['take']>().returns.resolves.toEqualTypeOf<BlockLease>();
  expectTypeOf<LeaseBlock>().toExtend<AsyncDisposable>();
  expectTypeOf<BlockLease>().toExtend<Disposable>();
  expectTypeOf<BlockLease['token']>().toEqualTypeOf<string>();
});

it('has events that say when some were missed', () => {
  expectTypeOf<PoolNews>().toEqualTypeOf<PoolEvent | { readonly type: 'reset' }>();
  expectTypeOf<AccountPoolClient['events']>().returns.toExtend<AsyncIterable<PoolNews>>();
  expectTypeOf<AccountPoolClient['listen']>().returns.resolves.toEqualTypeOf<void>();
});
