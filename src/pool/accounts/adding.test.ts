import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { TokenError } from '../../core/provider.ts';
import type { Account } from '../../pool-api/account-schema.ts';
import { settled } from '../testing/test-pool.ts';
import { closeServers, type Running, startServer } from '../testing/test-server.ts';

const minute = 60_000;
const hour = 60 * minute;

afterEach(closeServers);

interface Answered {
  readonly account: Account;
  readonly error: { readonly code: string; readonly message: string; readonly param?: string };
}
const post = (service: Running, body: object) =>
  service.call<Answered>('POST', '/api/accounts', { provider: 'warp', ...body });
const patch = (service: Running, id: string, body: object) =>
  service.call<Answered>('PATCH', `/api/accounts/${id}`, body);
const fails = (failure: 'invalid_grant' | 'refused') => () => {
  throw new TokenError(failure, 'Log in again.');
};

describe('an account with a refresh token', () => {
  it('is added, refreshed once, probed with its bearer and ready', async () => {
    const service = await startServer();
    const { status, body } = await post(service, { refresh_token: ' rt-1 \n', email: 'me@example.com' });
    expect(status).toBe(201);
    expect(body.account).toMatchObject({
      status: 'active',
      probe: 'proved',
      credential: 'refresh_token',
      token_version: 2,
      token_expires_at: new Date(service.clock.now() + hour).toISOString(),
      next_refresh_at: new Date(service.clock.now() + hour).toISOString(),
      refresh_failure: null,
    });
    expect(service.issuer.asked.map((call) => call.refreshToken)).toEqual(['rt-1']);
    expect(service.warp.asked).toEqual(['bearer-1']);
    const lease = await service.call<{ accounts: Record<string, unknown>[] }>(
      'POST',
      '/api/accounts/allocate',
      {},
    );
    expect(lease.body.accounts[0]).toMatchObject({
      id_token: 'bearer-1',
      token_expires_at: body.account.token_expires_at,
    });
  });

  it('never shows its refresh token in an answer or the audit trail', async () => {
    const service = await startServer();
    const token = 'a-very-secret-refresh-token-of-some-length';
    const { body } = await post(service, { refresh_token: token });
    await patch(service, body.account.id, { refresh_token: `${token}-again` });
    const seen = [
      body,
      (await service.call('GET', '/api/accounts')).body,
      (await service.call('POST', '/api/accounts/allocate', {})).body,
      await service.store.auditTrail({ limit: 100 }),
    ];
    expect(JSON.stringify(seen)).not.toContain(token);
  });

  it('is recognised by the token it came with and by the present one, after that has changed', async () => {
    const service = await startServer();
    const { body } = await post(service, { refresh_token: 'rt' });
    for (const refreshToken of ['rt', 'rt+1']) {
      const again = await post(service, { refresh_token: refreshToken });
      expect(again.status).toBe(409);
      expect(again.body.error.message).toContain(body.account.id);
    }
  });

  it('is kept, with the reason, when its first refresh fails', async () => {
    const service = await startServer();
    service.issuer.answer = fails('refused');
    expect((await post(service, { refresh_token: 'rt-1' })).body.account).toMatchObject({
      status: 'cooldown',
      status_reason: 'token_pending',
      probe: 'unproved',
      token_expires_at: null,
      refresh_failure: { failure: 'refused', message: 'Log in again.', in_a_row: 1 },
    });
    service.issuer.answer = fails('invalid_grant');
    expect((await post(service, { refresh_token: 'rt-2' })).body.account).toMatchObject({
      status: 'reauth_required',
      status_reason: 'invalid_grant',
    });
  });

  it('is answered after ten seconds although its first refresh goes on', async () => {
    const service = await startServer();
    const first = Promise.withResolvers<void>();
    service.issuer.answer = async (token) => {
      await first.promise;
      return service.issuer.grant(token);
    };
    const adding = post(service, { refresh_token: 'rt' });
    while (service.issuer.asked.length === 0) await settled();
    service.clock.advance(10_000);
    const { body } = await adding;
    expect(body.account).toMatchObject({ status: 'cooldown', status_reason: 'token_pending' });
    first.resolve();
    await settled();
    const { body: later } = await service.call<Answered>('GET', `/api/accounts/${body.account.id}`);
    expect(later.account).toMatchObject({ status: 'active', token_version: 2 });
    service.clock.advance(6000);
    await settled();
    const { body: probed } = await service.call<Answered>('GET', `/api/accounts/${body.account.id}`);
    expect(probed.account.probe).toBe('proved');
  });

  it('stays in standby when it was added so, unless the probe finds it dead', async () => {
    const service = await startServer();
    const { body } = await post(service, { refresh_token: 'rt-1', standby: true });
    expect(body.account).toMatchObject({ status: 'standby', probe: 'proved', token_version: 2 });
    service.warp.quotas.set('bearer-2', new AppError('upstream_refused', 'no'));
    const { body: dead } = await post(service, { refresh_token: 'rt-2', standby: true });
    expect(dead.account).toMatchObject({ status: 'reauth_required', status_reason: 'probe_refused' });
  });
});

describe('a replaced credential', () => {
  it('brings an account back whose API key was dead', async () => {
    const service = await startServer();
    service.warp.quotas.set('wk-dead', new AppError('upstream_unauthorized', 'no'));
    const { body } = await post(service, { api_key: 'wk-dead' });
    expect(body.account.status).toBe('reauth_required');
    const { body: after } = await patch(service, body.account.id, { api_key: 'good' });
    expect(after.account).toMatchObject({ status: 'active', probe: 'proved', token_version: 2 });
    expect(service.warp.asked).toEqual(['wk-dead', 'wk-good']);
    expect((await service.store.auditTrail({ limit: 1 }))[0]?.action).toBe('credential-replaced');
  });

  it('brings an account back whose refresh token was dead, once the ceiling is open', async () => {
    const service = await startServer();
    service.issuer.answer = fails('invalid_grant');
    const { id } = (await post(service, { refresh_token: 'dead' })).body.account;
    service.issuer.answer = (token) => service.issuer.grant(token);
    const { body } = await patch(service, id, { refresh_token: 'fresh' });
    expect(body.account).toMatchObject({
      status: 'cooldown',
      status_reason: 'token_pending',
      status_until: new Date(service.clock.now() + hour).toISOString(),
      refresh_failure: null,
    });
    expect(service.issuer.asked).toHaveLength(1);
    service.clock.advance(hour);
    await settled();
    const { body: later } = await service.call<Answered>('GET', `/api/accounts/${id}`);
    expect(later.account).toMatchObject({ status: 'active', token_version: 3 });
    expect(service.issuer.asked.at(-1)?.refreshToken).toBe('fresh');
  });

  it('can be put to use at once by force', async () => {
    const service = await startServer();
    service.issuer.answer = fails('invalid_grant');
    const { id } = (await post(service, { refresh_token: 'dead' })).body.account;
    service.issuer.answer = (token) => service.issuer.grant(token);
    await patch(service, id, { refresh_token: 'fresh' });
    await service.call('POST', '/api/accounts/refresh-tokens', { id, force: true });
    const { body } = await service.call<Answered>('GET', `/api/accounts/${id}`);
    expect(body.account).toMatchObject({ status: 'active', token_version: 3 });
  });

  it('leaves a disabled account disabled and a standby one in standby', async () => {
    const service = await startServer();
    const { id } = (await post(service, { refresh_token: 'rt' })).body.account;
    await patch(service, id, { enabled: false });
    const { body } = await patch(service, id, { refresh_token: 'other' });
    expect(body.account).toMatchObject({ status: 'disabled', next_refresh_at: null });
    const aside = (await post(service, { api_key: 'wk-1', standby: true })).body.account;
    const { body: still } = await patch(service, aside.id, { api_key: 'wk-2' });
    expect(still.account).toMatchObject({ status: 'standby', token_version: 2 });
  });

  it('must be of the account’s kind and nobody else’s', async () => {
    const service = await startServer();
    const one = (await post(service, { api_key: 'wk-1' })).body.account;
    const two = (await post(service, { refresh_token: 'rt-2' })).body.account;
    const answers = [
      await patch(service, one.id, { refresh_token: 'rt' }),
      await patch(service, two.id, { api_key: 'wk-3' }),
      await patch(service, one.id, { api_key: 'wk-3', refresh_token: 'rt' }),
    ];
    for (const { status, body } of answers) {
      expect([status, body.error.code]).toEqual([400, 'invalid_request']);
    }
    expect(answers[0]?.body.error.message).toContain('give api_key');
    const other = (await post(service, { refresh_token: 'rt-4' })).body.account;
    const taken = await patch(service, other.id, { refresh_token: 'rt-2' });
    expect([taken.status, taken.body.error.code]).toEqual([409, 'account_exists']);
    expect((await patch(service, two.id, { refresh_token: 'rt-2' })).status).toBe(200);
  });
});

it('an account without a credential is refused in words that say what to give', async () => {
  const service = await startServer();
  const { status, body } = await post(service, {});
  expect([status, body.error]).toEqual([
    400,
    {
      code: 'invalid_request',
      message: '"api_key" is not valid: give exactly one of api_key and refresh_token.',
      param: 'api_key',
    },
  ]);
});

describe('a credential that its provider refuses', () => {
  const refused = new AppError('upstream_unauthorized', 'no');
  const reject = { on_refusal: 'reject' };
  const accounts = async (service: Running) =>
    (await service.call<{ accounts: Account[] }>('GET', '/api/accounts')).body.accounts;

  it('is kept unless the request says otherwise', async () => {
    const service = await startServer();
    service.warp.quotas.set('wk-bad', refused);
    for (const [key, more] of [
      ['bad', {}],
      ['bad-too', { on_refusal: 'keep' }],
    ] as const) {
      service.warp.quotas.set(`wk-${key}`, refused);
      const { status, body } = await post(service, { api_key: key, ...more });
      expect([status, body.account.status]).toEqual([201, 'reauth_required']);
    }
  });

  it('is told from a key, and not added, where the request says so', async () => {
    const service = await startServer();
    service.warp.quotas.set('wk-bad', refused);
    const { status, body } = await post(service, { api_key: 'bad', ...reject });
    expect([status, body.error]).toEqual([
      422,
      expect.objectContaining({
        code: 'credential_refused',
        param: 'api_key',
        message: expect.stringMatching(
          /^warp refuses this API key: the provider does not accept its credential \(401\)\. The account was not added \(--keep/,
        ),
      }),
    ]);
    expect(await accounts(service)).toEqual([]);
    service.warp.quotas.delete('wk-bad');
    expect((await post(service, { api_key: 'bad', ...reject })).status).toBe(201);
  });

  it('is kept unproved where the provider could not be asked', async () => {
    const service = await startServer();
    service.warp.quotas.set('wk-1', new AppError('upstream_unavailable', 'away'));
    const { status, body } = await post(service, { api_key: '1', ...reject });
    expect([status, body.account.status, body.account.probe]).toEqual([201, 'active', 'unproved']);
  });

  it('is removed again where it is a refresh token, and leaves the sandbox as it was', async () => {
    const service = await startServer({ sandbox: true });
    service.issuer.answer = fails('invalid_grant');
    const { status, body } = await post(service, { refresh_token: 'rt', ...reject });
    expect([status, body.error.code, body.error.param]).toEqual([422, 'credential_refused', 'refresh_token']);
    expect(await accounts(service)).toEqual([]);
    expect((await service.call('GET', '/health')).body).toMatchObject({ status: 'ok', sandbox: true });

    service.issuer.answer = (token) => service.issuer.grant(token);
    expect((await post(service, { refresh_token: 'rt-2', ...reject })).body.account.probe).toBe('proved');
    expect((await service.call('GET', '/health')).body).toMatchObject({ sandbox: false });
  });

  it('stays where its refresh token was exchanged before the refusal, and the answer says so', async () => {
    const service = await startServer();
    service.warp.quotas.set('bearer-1', new AppError('upstream_refused', 'Your plan has ended.'));
    const { status, body } = await post(service, { refresh_token: 'rt', ...reject });
    const [kept] = await accounts(service);
    expect([status, kept?.status]).toEqual([422, 'reauth_required']);
    expect(body.error.message).toMatch(
      new RegExp(`Your plan has ended\\. .* kept as account ${kept?.id}\\.`),
    );
  });

  it('does not replace a key that works', async () => {
    const service = await startServer();
    const { id } = (await post(service, { api_key: 'good' })).body.account;
    service.warp.quotas.set('wk-bad', refused);
    const { status, body } = await patch(service, id, { api_key: 'bad', ...reject });
    expect([status, body.error.code]).toEqual([422, 'credential_refused']);
    expect(body.error.message).toContain('The account keeps the one it has');
    const lease = await service.call('POST', '/api/accounts/allocate', {});
    expect(lease.body).toMatchObject({ accounts: [{ id, id_token: 'wk-good' }] });
    expect((await patch(service, id, { api_key: 'bad' })).body.account.status).toBe('reauth_required');
  });

  it('is named by its account, and what to do, when it is given again', async () => {
    const service = await startServer();
    service.warp.quotas.set('wk-bad', refused);
    const { id } = (await post(service, { api_key: 'bad' })).body.account;
    const { status, body } = await post(service, { api_key: 'bad', ...reject });
    expect(status).toBe(409);
    expect(body.error.message).toContain(`It is reauth_required: "warp2api account enable ${id}"`);
  });
});
