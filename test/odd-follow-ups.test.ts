// After an answer with odd parts the conversation goes on with what the upstream sent, sent back as it came.
import type OpenAI from 'openai';
import { expect, test } from 'vitest';
import { servicesForTest } from './support/services.ts';

test.each(['broken-messages', 'extras', 'charges', 'undeclared-tool', 'builtin-tools'])(
  'a conversation goes on after "%s"',
  async (name) => {
    const services = await servicesForTest();
    await services.addAccount('wk-1');
    const openai = services.openai();
    const model = `sandbox-${name}`;
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Hello' }];
    const first = await openai.chat.completions.create({ model, messages });
    const [choice] = first.choices;
    if (!choice) throw new Error('no answer');
    const calls = choice.message.tool_calls ?? [];
    await openai.chat.completions.create({
      model,
      messages: [
        ...messages,
        choice.message,
        ...calls.map(({ id }) => ({ role: 'tool' as const, tool_call_id: id, content: 'no such tool' })),
        ...(calls.length > 0 ? [] : [{ role: 'user' as const, content: 'And then?' }]),
      ],
    });
    expect(services.upstream.turns.map(({ problems }) => problems)).toEqual([[], []]);
    expect(services.upstream.turns[1]).toMatchObject({ status: 200, taskCount: 1 });
  },
);
