import type { StreamEncoder } from '../../src/core/protocol.ts';
import { anthropicMessagesInbound } from '../../src/protocols/anthropic-messages/inbound.ts';
import { createGeminiInbound } from '../../src/protocols/gemini/inbound.ts';
import { openaiChatInbound } from '../../src/protocols/openai-chat/inbound.ts';
import { createResponsesInbound } from '../../src/protocols/openai-responses/inbound.ts';
import type { Dialect } from './stream-grammar.ts';

const tools = ['get_weather', 'files__read', 'x'];
const identity = (id: string) => ({ id, created: 1_700_000_000, model: 'm', now: () => 1_700_000_000_000 });

/** An encoder as a request that shows everything gets it. */
export const encoders: Readonly<Record<Dialect, () => StreamEncoder>> = {
  chat() {
    const { options } = openaiChatInbound.decode({
      model: 'm',
      messages: [{ role: 'user', content: 'Hi' }],
      stream: true,
      stream_options: { include_usage: true },
    });
    return openaiChatInbound.streamEncoder(identity('chatcmpl-1'), options);
  },
  responses() {
    const inbound = createResponsesInbound();
    const offered = tools.map((name) => ({ type: 'function', name, parameters: {} }));
    const { options } = inbound.decode({ model: 'm', input: 'Hi', stream: true, tools: offered });
    return inbound.streamEncoder(identity('resp_1'), options);
  },
  messages() {
    const { options } = anthropicMessagesInbound.decode({
      model: 'm',
      max_tokens: 100,
      messages: [{ role: 'user', content: 'Hi' }],
      stream: true,
      thinking: { type: 'enabled', budget_tokens: 1024 },
    });
    return anthropicMessagesInbound.streamEncoder(identity('msg_1'), options);
  },
  gemini() {
    const inbound = createGeminiInbound({ model: 'm', answer: 'events' });
    const { options } = inbound.decode({
      contents: [{ parts: [{ text: 'Hi' }] }],
      generationConfig: { thinkingConfig: { includeThoughts: true } },
    });
    return inbound.streamEncoder(identity('gemini-1'), options);
  },
};
