import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { eventually, servicesForTest } from './support/services.ts';

/** Both services with a provider `corp` in their configuration file, played by a sandbox of its own. */
async function withCorp() {
  const corp = await startSandbox();
  onTestFinished(() => corp.close());
  corp.tokens.set({ clientSecret: 's3cret', device: { intervalSeconds: 1 } });
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-corp-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'warp2api.yaml');
  writeFileSync(
    file,
    `providers:
  corp:
    type: oauth2
    token_url: ${corp.url}/oauth/token
    device_authorization_url: ${corp.url}/oauth/device_authorization
    client_id: client
    client_secret_env: CORP_SECRET
  keys:
    type: api_key
    check_url: ${corp.url}/health
`,
  );
  const services = await servicesForTest({ CONFIG_FILE: file, CORP_SECRET: 's3cret' });
  return { corp, services };
}

interface Lent {
  readonly accounts: readonly {
    readonly provider: string;
    readonly id_token: string;
    readonly email: string;
  }[];
}

it('an account of a configured OAuth 2.0 provider logs in, refreshes, and is lent to an outsider', async () => {
  const { corp, services } = await withCorp();
  const { login } = (await services.pool('/api/logins', { provider: 'corp' })) as {
    login: { id: string; user_code: string };
  };
  corp.tokens.decide(login.user_code, 'approve', 'me@example.com');
  const approved = await eventually('the login is approved', async () => {
    const answer = (await services.pool(`/api/logins/${login.id}`)) as {
      login: { status: string; account_id: string };
    };
    return answer.login.status === 'approved' && answer.login;
  });
  const lent = (await services.pool('/api/accounts/allocate', { provider: 'corp' })) as unknown as Lent;
  expect(lent.accounts[0]?.id_token.startsWith('eyJ')).toBe(true);
  const refreshed = await services.pool('/api/accounts/refresh-tokens', { id: approved.account_id });
  expect(refreshed).toMatchObject({ refreshed: 1, failed: 0 });
  expect(corp.tokens.stats()).toMatchObject({ issued: 1, misuse: 0, pollsTooSoon: 0 });
});

it('plain keys are kept and lent; the gateway does not offer them', async () => {
  const { services } = await withCorp();
  const added = await services.pool('/api/accounts', { provider: 'keys', api_key: 'k-1' });
  expect(added).toMatchObject({ httpStatus: 201, account: { status: 'active', probe: 'proved' } });
  const lent = (await services.pool('/api/accounts/allocate', { provider: 'keys' })) as unknown as Lent;
  expect(lent.accounts).toMatchObject([{ provider: 'keys', id_token: 'k-1' }]);
  const answer = await services.chat({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] });
  expect(answer.status).toBe(503);
});
