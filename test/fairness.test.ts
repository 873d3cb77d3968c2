import { expect, it } from 'vitest';
import { withVendor } from './support/openai-vendor.ts';
import { userTurn } from './support/services.ts';

it('a client with one turn is not held up by one with 200, whose turns that get no place are refused', async () => {
  const { chat, addAccount } = await withVendor([], { API_KEYS: 'first-client-key,second-client-key' });
  await addAccount('sk-one-1234567890', { provider: 'local', capacity: 10 });
  let answered = 0;
  // Takes 1.5 seconds upstream.
  const turnOf = async (key: string) => {
    const answer = await chat(
      { ...userTurn('chat-slow', 'Hello'), stream: true },
      { authorization: `Bearer ${key}` },
    );
    await answer.text();
    if (answer.status === 200) answered += 1;
    return { status: answer.status, retryAfter: Number(answer.headers.get('retry-after')) };
  };
  const many = Array.from({ length: 200 }, () => turnOf('first-client-key'));
  await Promise.race(many);
  const before = answered;
  expect(await turnOf('second-client-key')).toMatchObject({ status: 200 });
  // Those that had a place when it came, those that got theirs before it or beside it, and itself.
  expect(answered - before).toBeLessThanOrEqual(30);
  const answers = await Promise.all(many);
  const refused = answers.filter(({ status }) => status !== 200);
  expect(answers.length - refused.length).toBeGreaterThan(30);
  // At ten places and 1.5 seconds a turn not all of them can have one in ten seconds.
  expect(refused.length).toBeGreaterThan(50);
  expect(refused.every(({ status }) => status === 503 || status === 429)).toBe(true);
  expect(refused.every(({ retryAfter }) => retryAfter >= 2)).toBe(true);
}, 40_000);
