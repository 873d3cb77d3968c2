// Clients that cut texts leave half a character at the cut, which servers refuse with the whole request.
import { expect, it } from 'vitest';
import { modelOf, protocols, withUpstreams } from './support/upstreams.ts';

const half = '\ud83d';
const bodies: Readonly<Record<(typeof protocols)[number], (model: string) => [path: string, body: object]>> =
  {
    chat: (model) => [
      '/v1/chat/completions',
      { model, messages: [{ role: 'user', content: `cut ${half}` }] },
    ],
    responses: (model) => ['/v1/responses', { model, store: false, input: `cut ${half}` }],
    messages: (model) => [
      '/v1/messages',
      { model, max_tokens: 99, messages: [{ role: 'user', content: `cut ${half}` }] },
    ],
    gemini: (model) => [
      `/v1beta/models/${model}:generateContent`,
      { contents: [{ role: 'user', parts: [{ text: `cut ${half}` }] }] },
    ],
  };

it.each(protocols)('no client sends half a character to %s', async (protocol) => {
  const services = await withUpstreams({ up: { protocol } });
  for (const dialect of protocols) {
    const [path, body] = bodies[dialect](modelOf(protocol, 'echo'));
    const answer = await fetch(`${services.gatewayUrl}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect([dialect, answer.status, await answer.text()]).toEqual([
      dialect,
      200,
      expect.stringContaining('cut \ufffd'),
    ]);
  }
  expect(services.vendors.up.turns.map(({ text }) => /\\ud83d/i.test(text))).toEqual(
    protocols.map(() => false),
  );
});
