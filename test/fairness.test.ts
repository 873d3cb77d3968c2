import type { ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { withScripted } from './support/scripted-vendor.ts';
import { eventually, userTurn } from './support/services.ts';

it('a client with one turn is not held up by one with many, whose turns that get no place are refused', async () => {
  const running: { prompt: string; response: ServerResponse }[] = [];
  const began: string[] = [];
  const places = 10;
  const asked = 60;
  // A turn goes on until this test ends it, so that what waits is known whatever the pace of the machine.
  const { chat, addAccount, gatewayUrl } = await withScripted(
    ({ json }, response) => {
      const [message] = json['messages'] as { content: string }[];
      const prompt = message?.content ?? '';
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n');
      began.push(prompt);
      running.push({ prompt, response });
    },
    { keys: [], environment: { API_KEYS: 'first-client-key,second-client-key' } },
  );
  await addAccount('sk-one-1234567890', { provider: 'local', capacity: places });
  const end = () =>
    running
      .shift()
      ?.response.end('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
  const keyOf = (client: string) => ({ authorization: `Bearer ${client}-client-key` });
  let over = 0;
  const turnOf = async (client: 'first' | 'second') => {
    const answer = await chat(userTurn('local/m', client, { stream: true }), keyOf(client));
    await answer.text();
    over += 1;
    return { status: answer.status, retryAfter: Number(answer.headers.get('retry-after')) };
  };
  const waiting = async () => {
    const answer = await fetch(`${gatewayUrl}/metrics`, { headers: keyOf('first') });
    const text = await answer.text();
    return Number(/^warp2api_gateway_turns_waiting (\d+)$/m.exec(text)?.[1]);
  };

  const many = Array.from({ length: asked }, () => turnOf('first'));
  /** How many are at work, wait or are over. */
  const arrived = async () => began.length + (await waiting()) + over;
  await eventually('all have arrived', async () => (await arrived()) >= asked);
  expect(began).toHaveLength(places);
  const one = turnOf('second');
  await eventually('it has arrived, too', async () => (await arrived()) > asked);
  for (let ended = 1; ended <= 2; ended += 1) {
    end();
    await eventually('the next one begins', () => began.length === places + ended);
  }
  // Of two places that come free each client gets one.
  expect(began.slice(places).sort()).toEqual(['first', 'second']);
  // Two of the first ones have ended.
  await eventually('all others are refused', () => over === asked - places - 1 + 2);
  while (running.length > 0) end();
  expect(await one).toMatchObject({ status: 200 });
  const answers = await Promise.all(many);
  const refused = answers.filter(({ status }) => status !== 200);
  expect(refused).toHaveLength(asked - places - 1);
  expect(refused.every(({ status }) => status === 503 || status === 429)).toBe(true);
  expect(refused.every(({ retryAfter }) => retryAfter >= 2)).toBe(true);
});
