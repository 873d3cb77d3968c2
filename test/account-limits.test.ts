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
