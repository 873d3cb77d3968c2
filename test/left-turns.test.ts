import { expect, it } from 'vitest';
import { inOneMinute } from '../src/core/testing/one-minute.ts';
import { startUpstreams } from './support/upstreams.ts';

/** What the client asked, in tokens at four characters each. */
const askedTokens = 500;
const question = 'word'.repeat(askedTokens);
const prices = 'models:\n  "*": { price: { input: 1000, output: 10000 } }\n';

it('charges a client that leaves, and one whose upstream breaks, for what was asked and what has come', () =>
  inOneMinute(async () => {
    const services = await startUpstreams(
      {
        vendor: { protocol: 'chat' },
        claude: { protocol: 'messages' },
        gpt: { protocol: 'responses' },
      },
      prices,
    );
    try {
      const budgets = [
        { meter: 'tokens', window: 'day', limit: 1_000_000 },
        { meter: 'cost_cents', window: 'day', limit: 1_000_000 },
      ];
      const messages = [{ role: 'user', content: question }];
      for (const [name, path, model, asked] of [
        ['relayed', 'chat/completions', 'chat-text-stall', { messages }],
        ['broken', 'chat/completions', 'chat-text-cut', { messages }],
        ['translated', 'chat/completions', 'claude-text-stall', { messages }],
        ['messages', 'messages', 'claude-text-stall', { messages, max_tokens: 50 }],
        ['responses', 'responses', 'gpt-text-stall', { input: question }],
        ['nothing yet', 'chat/completions', 'chat-text-silence', { messages }],
        ['a whole answer', 'chat/completions', 'chat-text-stall', { messages, stream: false }],
        ['a translated one', 'chat/completions', 'claude-text-stall', { messages, stream: false }],
      ] as const) {
        const made = await fetch(`${services.gatewayUrl}/api/keys`, {
          method: 'POST',
          body: JSON.stringify({ name, limits: { budgets } }),
        });
        const headers = { authorization: `Bearer ${((await made.json()) as { secret: string }).secret}` };
        const client = new AbortController();
        const body = JSON.stringify({ model, stream: true, ...asked });
        const { signal } = client;
        const url = `${services.gatewayUrl}/v1/${path}`;
        const vendor = services.vendors[model.startsWith('claude') ? 'claude' : 'vendor'];
        const before = vendor.turns.length;
        const answered = fetch(url, { method: 'POST', headers, body, signal });
        if (model.endsWith('silence') || 'stream' in asked) {
          await expect.poll(() => vendor.turns.length, { message: name }).toBe(before + 1);
          client.abort();
          await expect(answered).rejects.toThrow('aborted');
        } else {
          const answer = await answered;
          expect(answer.status, name).toBe(200);
          await answer.body?.getReader().read();
          client.abort();
        }
        const used = async () => {
          const me = await fetch(`${services.gatewayUrl}/api/keys/me`, { headers });
          return ((await me.json()) as { uses: { used: number }[] }).uses.map((use) => use.used);
        };
        // The sandbox of Anthropic's says itself at the beginning what the input was.
        const least = model.startsWith('claude') ? 24 : askedTokens;
        await expect.poll(async () => (await used())[0], { message: name }).toBeGreaterThanOrEqual(least);
        // Tokens of the input cost a tenth of a cent, those of the output one.
        expect((await used())[1], name).toBeGreaterThan(least / 10);
      }
    } finally {
      await services.close();
    }
  }));
