import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { keys, useAttackedServices, withKeys } from './attacked-services.ts';

/** What one client may see or touch of another's, and one borrower of another's. */

// The model answers with what it was asked, so that an answer shows what reached it.
const services = useAttackedServices({ ...withKeys, WARP_API_KEY: 'wk-attacked.echo' });

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly body: Record<string, unknown>;
}

async function call(url: string, method: string, path: string, key: string, body?: unknown): Promise<Answer> {
  const answer = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${key}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, text, body: text.startsWith('{') ? JSON.parse(text) : {} };
}
const gateway = (method: string, path: string, key: string, body?: unknown) =>
  call(services.gatewayUrl, method, path, key, body);
const pool = (method: string, path: string, key: string, body?: unknown) =>
  call(services.poolUrl, method, path, key, body);

const secretWords = 'the secret words of this client';

describe('what a client has stored', () => {
  it.each([
    ['in one go', {}],
    ['in the background', { background: true }],
  ])('%s is found by no other one, by its id', async (_title, more) => {
    const made = await gateway('POST', '/v1/responses', keys.client, {
      model: 'auto',
      input: secretWords,
      ...more,
    });
    expect(made.status).toBe(200);
    const { id } = made.body;
    for (const [method, path] of [
      ['GET', `/v1/responses/${id}`],
      ['GET', `/v1/responses/${id}?stream=true`],
      ['GET', `/v1/responses/${id}/input_items`],
      ['POST', `/v1/responses/${id}/cancel`],
      ['DELETE', `/v1/responses/${id}`],
      ['GET', `/v1/responses/${encodeURIComponent(`../responses/${id}`)}`],
    ] as const) {
      const { status, text } = await gateway(method, path, keys.neighbour);
      expect([method, path, status, text.includes('secret words')]).toEqual([method, path, 404, false]);
    }
    for (const path of ['/v1/responses', '/v1/responses/compact', '/v1/responses/input_tokens']) {
      const sent = { model: 'auto', input: 'what did I say?', previous_response_id: id };
      const { status, text } = await gateway('POST', path, keys.neighbour, sent);
      expect([path, status, text.includes('secret words')]).toEqual([path, 400, false]);
    }
    const mine = await gateway('GET', `/v1/responses/${id}/input_items`, keys.client);
    expect([mine.status, mine.text.includes(secretWords)]).toEqual([200, true]);
  });

  it('is continued by no other one over a WebSocket', async () => {
    const { body } = await gateway('POST', '/v1/responses', keys.client, {
      model: 'auto',
      input: secretWords,
    });
    const socket = new WebSocket(`${services.gatewayUrl.replace('http', 'ws')}/v1/responses`, {
      headers: { authorization: `Bearer ${keys.neighbour}` },
    });
    await once(socket, 'open');
    socket.send(
      JSON.stringify({
        type: 'response.create',
        model: 'auto',
        input: 'and?',
        previous_response_id: body['id'],
      }),
    );
    const [message] = await once(socket, 'message');
    socket.close();
    expect(JSON.parse(String(message))).toMatchObject({ type: 'error' });
  });

  it('is sealed for others, also what the client carries itself', async () => {
    const compacted = await gateway('POST', '/v1/responses/compact', keys.client, {
      model: 'auto',
      input: secretWords,
    });
    expect(compacted.status).toBe(200);
    const output = compacted.body['output'] as readonly { readonly type: string }[];
    const item = output.find(({ type }) => type === 'compaction');
    const sent = { model: 'auto', input: [item, { role: 'user', content: 'and?' }] };
    const own = await gateway('POST', '/v1/responses', keys.client, sent);
    const other = await gateway('POST', '/v1/responses', keys.neighbour, sent);
    expect([own, other].map(({ text }) => text.includes(secretWords))).toEqual([true, false]);
  });
});

describe('what a borrower holds', () => {
  it('is neither returned, nor reported on, nor taken over by another one', async () => {
    const session = { session_id: 'the-session-of-the-owner' };
    const asked = { ...session, exclusive: false };
    const { status, body } = await pool('POST', '/api/accounts/allocate', keys.admin, asked);
    expect(status).toBe(200);
    const [lease] = body['accounts'] as readonly { id: string; fence: number; token_version: number }[];
    const report = {
      report_id: 'r1',
      account_id: lease?.id,
      fence: lease?.fence,
      token_version: lease?.token_version,
      outcome: 'unauthorized',
      at: new Date().toISOString(),
    };
    const taken = await pool('POST', '/api/accounts/allocate', keys.pool, asked);
    const returned = await pool('POST', '/api/accounts/release', keys.pool, session);
    const reported = await pool('POST', '/api/accounts/report', keys.pool, { ...session, reports: [report] });
    expect([taken.status, returned.status, reported.status]).toEqual([409, 404, 404]);
    expect([taken, returned, reported].some(({ text }) => text.includes('id_token'))).toBe(false);
    // A report in a session of its own about an account that others hold.
    const own = { session_id: 'a-session-of-the-borrower' };
    await pool('POST', '/api/accounts/allocate', keys.pool, { ...own, exclusive: false });
    const foreign = await pool('POST', '/api/accounts/report', keys.pool, { ...own, reports: [report] });
    expect(
      foreign.status === 404 || foreign.text.includes('"stale"') || foreign.text.includes('"unknown"'),
    ).toBe(true);
    const account = await pool('GET', `/api/accounts/${lease?.id}`, keys.admin);
    expect(account.text).toContain('"status":"active"');
    expect((await pool('POST', '/api/accounts/release', keys.admin, session)).body['released']).toBe(1);
  });

  it('is no account that is lent to gateways only, whatever the session is called', async () => {
    const { accounts } = (await pool('GET', '/api/accounts', keys.admin)).body as {
      accounts: { id: string }[];
    };
    const id = accounts[0]?.id;
    expect((await pool('PATCH', `/api/accounts/${id}`, keys.admin, { lend: 'gateway' })).status).toBe(200);
    for (const name of ['gateway:one', 'gateway:', 'gateway', 'x-gateway:one']) {
      const { status, text } = await pool('POST', '/api/accounts/allocate', keys.pool, {
        session_id: name,
        exclusive: false,
      });
      expect([name, status === 200, text.includes('id_token')]).toEqual([name, false, false]);
    }
    // The gateway itself still borrows it.
    const turn = await gateway('POST', '/v1/responses', keys.client, {
      model: 'auto',
      input: 'hi',
      store: false,
    });
    expect(turn.status).toBe(200);
    await pool('PATCH', `/api/accounts/${id}`, keys.admin, { lend: 'any' });
  });

  it('is disabled by no claim that its key was rejected', async () => {
    const session = { session_id: 'a-liar' };
    const { accounts } = (
      await pool('POST', '/api/accounts/allocate', keys.pool, { ...session, exclusive: false })
    ).body as { accounts: { id: string; fence: number; token_version: number }[] };
    const lies = ['unauthorized', 'refused', 'quota_exhausted', 'unavailable', 'protocol'];
    for (const [index, outcome] of [...lies, ...lies, ...lies].entries()) {
      const [lease] = accounts;
      await pool('POST', '/api/accounts/report', keys.pool, {
        ...session,
        reports: [
          {
            report_id: `lie-${index}`,
            account_id: lease?.id,
            fence: lease?.fence,
            token_version: lease?.token_version,
            outcome,
            at: new Date().toISOString(),
          },
        ],
      });
    }
    const { text } = await pool('GET', `/api/accounts/${accounts[0]?.id}`, keys.admin);
    expect(text).not.toMatch(/"status":"(reauth_required|disabled)"/);
    await pool('POST', '/api/accounts/release', keys.pool, session);
  });
});
