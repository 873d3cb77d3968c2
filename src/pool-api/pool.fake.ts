import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { Account } from './account-schema.ts';
import type { StatusAnswer } from './owner-schema.ts';
import type { AllocateAnswer, LeasedAccount } from './schema.ts';

/** A pool of scripted answers over real HTTP, for tests. */
export interface FakePool extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** What came in, in order. */
  readonly calls: FakeCall[];
}

export interface FakeCall {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

export interface FakeReply {
  readonly status?: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** `reset` cuts the connection without an answer, `hang` never answers, a function writes the answer itself. */
export type FakeAnswer = FakeReply | 'reset' | 'hang' | ((response: ServerResponse) => void);

export async function startFakePool(
  answer: (call: FakeCall, index: number) => FakeAnswer,
  options: { readonly port?: number; readonly host?: string } = {},
): Promise<FakePool> {
  const calls: FakeCall[] = [];
  const server = createServer(async (request, response) => {
    const bytes = await buffer(request).catch(() => undefined);
    // Its client has left, or the test has ended.
    if (bytes === undefined) return;
    const text = bytes.toString('utf8');
    const call: FakeCall = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
    calls.push(call);
    const reply = answer(call, calls.length - 1);
    if (reply === 'hang') return;
    if (reply === 'reset') {
      request.socket.resetAndDestroy();
    } else if (typeof reply === 'function') {
      reply(response);
    } else {
      response.writeHead(reply.status ?? 200, { 'content-type': 'application/json', ...reply.headers });
      response.end(JSON.stringify(reply.body ?? { success: true }));
    }
  });
  await new Promise<void>((resolve) =>
    server.listen(options.port ?? 0, options.host ?? '127.0.0.1', () => resolve()),
  );
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    calls,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

export const leased: LeasedAccount = {
  id: 'acc-1',
  email: 'one@example.com',
  provider: 'warp',
  status: 'active',
  id_token: 'bearer-1',
  token_expires_at: '2030-01-01T00:00:00Z',
  token_version: 3,
  use_count: 7,
  last_used: null,
  last_refresh_time: null,
  fence: 11,
  slots: 1,
  capacity: 16,
  free: false,
  models: null,
  team_uid: null,
  label: null,
  tier: 1,
  quota_expires_at: null,
};

/** The answer to an allocate call, for the session it names. */
export function allocated(call: FakeCall): { body: AllocateAnswer } {
  return {
    body: {
      success: true,
      created: true,
      session_id: sessionIdOf(call),
      expires_at: '2030-01-01T00:30:00Z',
      accounts: [leased],
      message: 'ok',
    },
  };
}

export function sessionIdOf(call: FakeCall | undefined): string {
  const body = call?.body;
  if (typeof body === 'object' && body !== null && 'session_id' in body) return String(body.session_id);
  return 'none';
}

export function failed(status: number, code: string, extra: object = {}): FakeReply {
  return { status, body: { success: false, error: { code, message: `it is ${code}`, ...extra } } };
}

export const poolStatus: StatusAnswer = {
  pool_stats: {
    total: 3,
    available: 1,
    in_use: 1,
    standby: 0,
    cooldown: 1,
    exhausted: 0,
    reauth_required: 0,
    disabled: 0,
  },
  active_sessions: 1,
  running: true,
  min_pool_size: 5,
  max_pool_size: 50,
  health: 'healthy',
  sandbox: false,
  forecast: {
    remaining: 120,
    unmetered_accounts: 1,
    spent_last_hour: { turns: 40, input_tokens: 9000, output_tokens: 1000, credits: 20, cost_cents: 12.5 },
    lasts_hours: 6,
    empty_at: '2030-01-01T06:00:00Z',
    next_back_at: null,
    next_reset_at: '2030-01-03T00:00:00Z',
  },
  sources: [
    { name: 'standby', type: 'standby', state: 'empty', last_error: null, retry_at: null, added: 0 },
    {
      name: 'drop',
      type: 'file',
      state: 'backing_off',
      last_error: 'drop: the folder cannot be read',
      retry_at: '2030-01-01T00:01:00Z',
      added: 2,
    },
  ],
  timestamp: '2029-12-31T00:00:00Z',
};

export function createAccount(change: Partial<Account> = {}): Account {
  return {
    id: 'acc-1',
    provider: 'warp',
    email: 'one@example.com',
    label: null,
    status: 'active',
    status_until: null,
    status_reason: null,
    status_evidence: null,
    status_since: null,
    status_end: null,
    probe: 'proved',
    source: 'api',
    credential: 'api_key',
    credential_hint: 'cdef',
    capacity: 16,
    slots_in_use: 0,
    holders: 0,
    models: null,
    free: false,
    lend: 'any',
    tier: 0,
    team_uid: null,
    token_version: 1,
    use_count: 0,
    last_used: null,
    last_refresh_time: null,
    token_expires_at: null,
    next_refresh_at: null,
    refresh_failure: null,
    quota: null,
    next_check_at: null,
    usage: { turns: 0, input_tokens: 0, output_tokens: 0, credits: 0, cost_cents: 0 },
    created_at: '2029-12-31T00:00:00Z',
    updated_at: '2029-12-31T00:00:00Z',
    ...change,
  };
}
