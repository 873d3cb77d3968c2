import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, onTestFinished, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import type { Account } from '../src/pool-api/account-schema.ts';
import { servicesForTest } from './support/services.ts';

/*
 * `earlier-version/` holds the databases of both services as an earlier version left them when it was killed: accounts of
 * each kind, a session with a lease and its report, a login under way, a refresh whose answer was not stored, a conversation
 * of two turns, a stored response, and one that was being made in the background. `made.json` is what that version answered.
 */
const earlier = join(import.meta.dirname, 'earlier-version');
const made = JSON.parse(readFileSync(join(earlier, 'made.json'), 'utf8')) as {
  readonly made_at: number;
  readonly master_key: string;
  readonly ids: Readonly<Record<string, string>>;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly response_id: string;
  readonly running_id: string;
  readonly login_id: string;
  readonly report: { readonly session_id: string; readonly reports: readonly Record<string, unknown>[] };
  readonly fence: number;
  readonly accounts: readonly Account[];
  readonly audit: readonly Record<string, unknown>[];
};

/** A minute after that version was killed, as far as the databases can tell. */
function openedAgain(): string {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-upgrade-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const passed = Date.now() - 60_000 - made.made_at;
  for (const name of ['accounts', 'gateway']) {
    const sql = readFileSync(join(earlier, `${name}.sql`), 'utf8');
    const database = new DatabaseSync(join(folder, `${name}.db`));
    database.exec(sql.replaceAll(/\b1[78]\d{11}\b/g, (time) => String(Number(time) + passed)));
    database.close();
  }
  writeFileSync(join(folder, 'master.key'), made.master_key, { mode: 0o600 });
  return folder;
}

async function upgraded() {
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  upstream.tokens.addAccount({ email: 'user-1@sandbox.invalid', refreshToken: 'earlier-refresh-token-1' });
  const services = await servicesForTest({
    DATA_DIR: openedAgain(),
    WARP_SERVER_URL: upstream.url,
    WARP_TOKEN_URL: upstream.url,
    WARP_IDENTITY_URL: upstream.url,
    WARP_FIREBASE_API_KEY: 'AIzaX',
    WARP_OAUTH_CLIENT_ID: 'warp-cli',
  });
  return { upstream, services };
}

/** What of an account does not change while time passes. */
const lastingOf = ({
  id,
  provider,
  email,
  label,
  capacity,
  tier,
  lend,
  source,
  probe,
  usage,
  ...rest
}: Account) => {
  const { credential, credential_hint, token_version, created_at: _created, team_uid, models } = rest;
  const identity = { id, provider, email, label, source, credential, credential_hint, token_version };
  return { ...identity, capacity, tier, lend, probe, usage, team_uid, models };
};

test('a pool of an earlier version goes on with its accounts, sessions, reports, refreshes and logins', async () => {
  const { services } = await upgraded();
  const accounts = (await services.pool('/api/accounts'))['accounts'] as Account[];
  expect(accounts.map(lastingOf)).toEqual(made.accounts.map(lastingOf));
  const statusOf = (name: string) => accounts.find(({ id }) => id === made.ids[name])?.status;
  expect([statusOf('key'), statusOf('oz'), statusOf('openai'), statusOf('anthropic')]).toEqual([
    'active',
    'active',
    'active',
    'disabled',
  ]);
  expect(accounts.find(({ id }) => id === made.ids['interrupted'])?.refresh_failure?.failure).toBe(
    'interrupted',
  );

  const resets = accounts.flatMap(({ quota }) => quota?.reset_at ?? []).sort();
  const { forecast } = await services.pool('/api/accounts/status');
  expect(resets).not.toEqual([]);
  expect(forecast).toMatchObject({ next_reset_at: resets[0] });

  const audit = (await services.pool('/api/audit?limit=1000'))['entries'] as Record<string, unknown>[];
  const named = ({ seq, actor, action, account_id, detail }: Record<string, unknown>) => [
    seq,
    actor,
    action,
    account_id,
    detail,
  ];
  expect(audit.map(named)).toEqual(expect.arrayContaining(made.audit.map(named)));

  const held = await services.pool('/api/accounts/allocate', { session_id: 'job-1', provider: 'openai' });
  expect(held).toMatchObject({
    created: false,
    accounts: [{ id: made.ids['openai'], fence: made.fence, id_token: 'sk-openai-1' }],
  });
  const again = await services.pool('/api/accounts/report', made.report);
  expect(again['results']).toMatchObject([{ result: 'duplicate' }]);
  const old = { ...made.report.reports[0], report_id: 'report-2', fence: made.fence - 1 };
  const late = await services.pool('/api/accounts/report', { session_id: 'job-1', reports: [old] });
  expect(late['results']).toMatchObject([{ result: 'stale' }]);
  expect(await services.pool('/api/accounts/release', { session_id: 'job-1' })).toMatchObject({
    released: 1,
  });

  const refreshed = await services.pool('/api/accounts/refresh-tokens', {
    id: made.ids['token'],
    force: true,
  });
  expect(refreshed['results']).toMatchObject([{ id: made.ids['token'], result: 'refreshed' }]);
  expect((await services.pool(`/api/logins/${made.login_id}`))['login']).toMatchObject({ provider: 'warp' });
});

test('a gateway of an earlier version left conversations and responses that its clients go on with', async () => {
  const { services, upstream } = await upgraded();
  const get = async (id: string) => (await fetch(`${services.gatewayUrl}/v1/responses/${id}`)).json();
  expect(await get(made.response_id)).toMatchObject({
    status: 'completed',
    output: [{ content: [{ text: 'You said: Say one.' }] }],
  });
  expect(await get(made.running_id)).toMatchObject({ status: 'failed', error: { code: 'server_error' } });

  const messages = [...made.messages, { role: 'user', content: 'What is my name?' }];
  const answer = await services.chat({ model: 'sandbox', messages });
  expect(answer.status).toBe(200);
  expect(await answer.text()).toContain('What is my name?');
  // This upstream does not know the remembered conversation, so the history is sent whole after all.
  expect(upstream.turns.map(({ problems }) => problems)).toEqual([
    [expect.stringMatching(/^conversation \S+ is unknown$/)],
    [],
  ]);
  expect(services.log()).toContain('"conversation":"lost"');

  const next = await fetch(`${services.gatewayUrl}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sandbox', previous_response_id: made.response_id, input: 'Say two.' }),
  });
  const { output } = (await next.json()) as { output: { content: { text: string }[] }[] };
  expect(output[0]?.content[0]?.text).toMatch(/Say one\..*Say two\./s);
});
