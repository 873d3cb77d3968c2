import { expect, it } from 'vitest';
import { withVendor } from './support/openai-vendor.ts';
import { sendJson, withScripted } from './support/scripted-vendor.ts';
import { userTurn } from './support/services.ts';

const keys = ['sk-one-1234567890', 'sk-two-1234567890'];

it('an account without requests left is skipped for that model only, and tried where there is no other', async () => {
  const { chat, vendor } = await withVendor(keys);
  const keyOf = async (model: string) => {
    expect((await chat(userTurn(model, 'Hello'))).status).toBe(200);
    return vendor.turns.at(-1)?.key;
  };
  const first = await keyOf('chat-last-request');
  const other = keys.find((key) => key !== first);
  expect(await keyOf('chat-text')).toBe(first);
  expect(await keyOf('chat-last-request')).toBe(other);
  expect(keys).toContain(await keyOf('chat-last-request'));
});

it('a 429 for a limit of the model leaves the account to its other models, and is not asked for again', async () => {
  const { chat, pool, vendor } = await withVendor(['sk-one-1234567890']);
  for (let turn = 0; turn < 2; turn += 1) {
    const answer = await chat(userTurn('chat-model-limit', 'Hello'));
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(25);
    expect(await answer.json()).toMatchObject({ error: { code: 'rate_limit_exceeded' } });
  }
  expect(vendor.turns).toHaveLength(1);
  expect((await chat(userTurn('chat-text', 'Hello'))).status).toBe(200);
  const { accounts } = (await pool('/api/accounts')) as unknown as { accounts: { status: string }[] };
  expect(accounts[0]?.status).toBe('active');
});

const tooMuch = 'Request too large for model `m` on tokens per minute (TPM): Limit 8000, Requested 32979.';
const tooDear = 'You requested up to 32000 tokens, but can only afford 27342.';

it.each([
  [413, tooMuch, { type: 'tokens', code: 'rate_limit_exceeded' }, 400, 'context_length_exceeded'],
  [402, tooDear, { code: 402 }, 429, 'insufficient_quota'],
])(
  'a request that is too large for the limits of one account (%i) goes to another, and no account rests',
  async (status, message, more, shownStatus, shownCode) => {
    const roomy = 'sk-roomy-1234567890';
    let largest = [roomy];
    const { chat, pool, requests } = await withScripted(
      ({ headers }, response) => {
        if (!largest.some((key) => headers['authorization'] === `Bearer ${key}`))
          return sendJson(response, { error: { message, ...more } }, status);
        const choice = { index: 0, message: { role: 'assistant', content: 'Hi.' }, finish_reason: 'stop' };
        sendJson(response, { id: 'c', object: 'chat.completion', model: 'm', choices: [choice] });
      },
      { keys: ['sk-one-1234567890', roomy, 'sk-two-1234567890'] },
    );
    // Whichever account a turn begins with.
    for (let turn = 0; turn < 3; turn += 1)
      expect((await chat({ ...userTurn('m', 'Hello'), stream: false })).status).toBe(200);
    largest = [];
    const before = requests.length;
    const refused = await chat({ ...userTurn('m', 'Hello'), stream: false });
    expect([refused.status, await refused.json()]).toMatchObject([
      shownStatus,
      { error: { code: shownCode, message: expect.stringContaining(message) } },
    ]);
    const asked = requests.slice(before).map(({ headers }) => headers['authorization']);
    expect([asked.length, new Set(asked).size]).toEqual([3, 3]);
    const { accounts } = (await pool('/api/accounts')) as unknown as { accounts: { status: string }[] };
    expect(accounts.map(({ status: standing }) => standing)).toEqual(['active', 'active', 'active']);
  },
);

it.each([
  [false, ['active', 'active']],
  // The pool lends no free account in its place.
  [true, ['active', 'cooldown']],
])(
  'what is free at one account does not stand in for what was free at another (free account: %s)',
  async (free, standings) => {
    const message =
      'Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day';
    const { chat, pool, addAccount, requests } = await withScripted(
      (_request, response) => sendJson(response, { error: { message, code: 429 } }, 429),
      { keys: [] },
    );
    for (const key of keys) await addAccount(key, { provider: 'local', free });
    const answer = await chat(userTurn('m', 'Hello'));
    expect([answer.status, await answer.json()]).toMatchObject([
      429,
      { error: { code: 'insufficient_quota' } },
    ]);
    expect(requests).toHaveLength(1);
    const { accounts } = (await pool('/api/accounts')) as unknown as { accounts: { status: string }[] };
    expect(accounts.map(({ status }) => status).sort()).toEqual(standings);
  },
);
