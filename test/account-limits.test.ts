import { expect, it } from 'vitest';
import { withVendor } from './support/openai-vendor.ts';
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
