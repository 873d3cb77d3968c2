import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { type Content, GoogleGenAI } from '@google/genai';
import { type BaseMessage, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, jsonSchema, type LanguageModel, Output, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import type { ResponseInputItem } from 'openai/resources/responses/responses';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { soundText } from '../sandbox/vendor/scenarios.ts';
import { pixel } from '../src/core/testing/pixel.ts';
import { eventually } from './support/services.ts';
import { modelOf, protocols, startUpstreams, type UpstreamServices } from './support/upstreams.ts';

const schema = {
  type: 'object' as const,
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};
const toolNames = ['get_weather', 'get_time'];

type ProviderOptions = NonNullable<Parameters<typeof generateText>[0]['providerOptions']>;

interface Wish {
  readonly model: string;
  readonly hasTools?: boolean;
  readonly isThinking?: boolean;
  readonly hasImage?: boolean;
  readonly hasSchema?: boolean;
}

interface Heard {
  readonly text: string;
  /** How many calls each answer had. */
  readonly rounds: readonly number[];
}

/** An official SDK; each call is what its documentation would have a user write. It runs tools until there is text. */
interface Client {
  ask(wish: Wish): Promise<Heard>;
  stream(wish: Wish, signal: AbortSignal, onText: () => void): Promise<unknown>;
}

const resultOf = (input: unknown) => `4 degrees in ${(input as { city: string }).city}`;

async function loop(turn: () => Promise<{ readonly text: string; readonly calls: number }>): Promise<Heard> {
  const rounds: number[] = [];
  for (;;) {
    const { text, calls } = await turn();
    if (calls === 0) return { text, rounds };
    rounds.push(calls);
    if (rounds.length > 5) throw new Error('the loop has no end');
  }
}

type Create = (url: string) => Client;

const openaiOf = (url: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0 });

const chat: Create = (url) => {
  const client = openaiOf(url);
  return {
    ask({ model, hasTools, isThinking, hasImage, hasSchema }) {
      const image = { type: 'image_url' as const, image_url: { url: `data:image/png;base64,${pixel}` } };
      const messages: OpenAI.ChatCompletionMessageParam[] = [
        { role: 'user', content: [...(hasImage ? [image] : []), { type: 'text', text: 'Weather?' }] },
      ];
      return loop(async () => {
        const answer = await client.chat.completions.create({
          model,
          messages,
          ...(isThinking && { reasoning_effort: 'low' }),
          ...(hasTools && {
            tools: toolNames.map((name) => ({ type: 'function', function: { name, parameters: schema } })),
          }),
          ...(hasSchema && {
            response_format: { type: 'json_schema', json_schema: { name: 'answer', schema, strict: true } },
          }),
        });
        const message = answer.choices[0]?.message;
        if (message === undefined) throw new Error('no choice');
        messages.push(message);
        const calls = message.tool_calls?.filter((call) => call.type === 'function') ?? [];
        for (const { id, function: call } of calls) {
          messages.push({ role: 'tool', tool_call_id: id, content: resultOf(JSON.parse(call.arguments)) });
        }
        return { text: message.content ?? '', calls: calls.length };
      });
    },
    async stream({ model }, signal, onText) {
      const messages = [{ role: 'user' as const, content: 'Hi' }];
      for await (const _chunk of await client.chat.completions.create(
        { model, messages, stream: true },
        { signal },
      )) {
        onText();
      }
    },
  };
};

const responses: Create = (url) => {
  const client = openaiOf(url);
  return {
    ask({ model, hasTools, isThinking, hasImage, hasSchema }) {
      const image = {
        type: 'input_image' as const,
        detail: 'auto' as const,
        image_url: `data:image/png;base64,${pixel}`,
      };
      const input: ResponseInputItem[] = [
        { role: 'user', content: [...(hasImage ? [image] : []), { type: 'input_text', text: 'Weather?' }] },
      ];
      return loop(async () => {
        const answer = await client.responses.create({
          model,
          input,
          store: false,
          ...(isThinking && { reasoning: { effort: 'low' }, include: ['reasoning.encrypted_content'] }),
          ...(hasTools && {
            tools: toolNames.map((name) => ({ type: 'function', name, parameters: schema, strict: true })),
          }),
          ...(hasSchema && {
            text: { format: { type: 'json_schema', name: 'answer', schema, strict: true } },
          }),
        });
        input.push(...(answer.output as ResponseInputItem[]));
        const calls = answer.output.filter((item) => item.type === 'function_call');
        for (const { call_id: id, arguments: sent } of calls) {
          input.push({ type: 'function_call_output', call_id: id, output: resultOf(JSON.parse(sent)) });
        }
        return { text: answer.output_text, calls: calls.length };
      });
    },
    async stream({ model }, signal, onText) {
      const params = { model, input: 'Hi', store: false, stream: true as const };
      for await (const _event of await client.responses.create(params, { signal })) onText();
    },
  };
};

const messages: Create = (url) => {
  const client = new Anthropic({ baseURL: url, apiKey: 'any', maxRetries: 0 });
  return {
    ask({ model, hasTools, isThinking, hasImage, hasSchema }) {
      const source = { type: 'base64' as const, media_type: 'image/png' as const, data: pixel };
      const said: Anthropic.MessageParam[] = [
        {
          role: 'user',
          content: [
            ...(hasImage ? [{ type: 'image' as const, source }] : []),
            { type: 'text', text: 'Weather?' },
          ],
        },
      ];
      return loop(async () => {
        const answer = await client.messages
          .stream({
            model,
            max_tokens: 5_000,
            messages: said,
            ...(isThinking && { thinking: { type: 'enabled', budget_tokens: 1_024 } }),
            ...(hasTools && { tools: toolNames.map((name) => ({ name, input_schema: schema })) }),
            ...(hasSchema && { output_config: { format: { type: 'json_schema', schema } } }),
          })
          .finalMessage();
        said.push({ role: 'assistant', content: answer.content });
        const calls = answer.content.filter((block) => block.type === 'tool_use');
        const results = calls.map(({ id, input }) => ({
          type: 'tool_result' as const,
          tool_use_id: id,
          content: resultOf(input),
        }));
        if (results.length > 0) said.push({ role: 'user', content: results });
        const text = answer.content.map((block) => (block.type === 'text' ? block.text : '')).join('');
        return { text, calls: calls.length };
      });
    },
    stream({ model }, signal, onText) {
      const params = { model, max_tokens: 1_000, messages: [{ role: 'user' as const, content: 'Hi' }] };
      return client.messages.stream(params, { signal }).on('text', onText).finalMessage();
    },
  };
};

const gemini: Create = (url) => {
  const client = new GoogleGenAI({ apiKey: 'any', httpOptions: { baseUrl: url } });
  return {
    ask({ model, hasTools, isThinking, hasImage, hasSchema }) {
      const image = { inlineData: { mimeType: 'image/png', data: pixel } };
      const contents: Content[] = [
        { role: 'user', parts: [...(hasImage ? [image] : []), { text: 'Weather?' }] },
      ];
      return loop(async () => {
        const answer = await client.models.generateContent({
          model,
          contents,
          config: {
            ...(isThinking && { thinkingConfig: { includeThoughts: true } }),
            ...(hasTools && {
              tools: [
                { functionDeclarations: toolNames.map((name) => ({ name, parametersJsonSchema: schema })) },
              ],
            }),
            ...(hasSchema && { responseMimeType: 'application/json', responseJsonSchema: schema }),
          },
        });
        const content = answer.candidates?.[0]?.content;
        if (content === undefined) throw new Error('no candidate');
        contents.push(content);
        const calls = answer.functionCalls ?? [];
        const parts = calls.map(({ id, name, args }) => ({
          functionResponse: {
            ...(id && { id }),
            ...(name && { name }),
            response: { output: resultOf(args) },
          },
        }));
        if (parts.length > 0) contents.push({ role: 'user', parts });
        const text = (content.parts ?? []).map((part) => (part.thought ? '' : (part.text ?? ''))).join('');
        return { text, calls: calls.length };
      });
    },
    async stream({ model }, signal, onText) {
      const params = { model, contents: 'Hi', config: { abortSignal: signal } };
      for await (const _chunk of await client.models.generateContentStream(params)) onText();
    },
  };
};

/** The AI SDK with one of its providers; it runs the tools itself. */
const aiSdk =
  (
    modelAt: (url: string) => (model: string) => LanguageModel,
    providerOptions: ProviderOptions = {},
  ): Create =>
  (url) => ({
    async ask({ model, hasTools, isThinking, hasImage, hasSchema }) {
      const image = { type: 'image' as const, image: pixel, mediaType: 'image/png' };
      const answer = await generateText({
        model: modelAt(url)(model),
        maxRetries: 0,
        stopWhen: stepCountIs(6),
        messages: [
          { role: 'user', content: [...(hasImage ? [image] : []), { type: 'text', text: 'Weather?' }] },
        ],
        ...(isThinking && { providerOptions }),
        ...(hasTools && {
          tools: Object.fromEntries(
            toolNames.map((name) => [name, tool({ inputSchema: jsonSchema(schema), execute: resultOf })]),
          ),
        }),
        ...(hasSchema && { output: Output.object({ schema: jsonSchema(schema) }) }),
      });
      const rounds = answer.steps.map(({ toolCalls }) => toolCalls.length).filter((count) => count > 0);
      return { text: answer.text, rounds };
    },
    async stream({ model }, signal, onText) {
      const { textStream } = streamText({
        model: modelAt(url)(model),
        prompt: 'Hi',
        abortSignal: signal,
        maxRetries: 0,
      });
      for await (const _text of textStream) onText();
    },
  });

/** LangChain over one of OpenAI's dialects. */
const langchain =
  (useResponsesApi: boolean): Create =>
  (url) => {
    const modelOf = (model: string, more: object = {}) =>
      new ChatOpenAI({
        model,
        apiKey: 'any',
        maxRetries: 0,
        useResponsesApi,
        configuration: { baseURL: `${url}/v1` },
        ...more,
      });
    return {
      ask({ model, hasTools, isThinking, hasImage, hasSchema }) {
        const image = { type: 'image_url' as const, image_url: { url: `data:image/png;base64,${pixel}` } };
        const said: BaseMessage[] = [
          new HumanMessage({ content: [...(hasImage ? [image] : []), { type: 'text', text: 'Weather?' }] }),
        ];
        const chosen = modelOf(model, {
          ...(isThinking && { reasoning: { effort: 'low' } }),
          // Nothing is stored, so that the reasoning has to come back with the history.
          ...(useResponsesApi && { modelKwargs: { store: false, include: ['reasoning.encrypted_content'] } }),
        });
        if (hasSchema) {
          return loop(async () => {
            const answer = await chosen
              .withStructuredOutput({ title: 'answer', ...schema }, { method: 'jsonSchema', strict: true })
              .invoke(said);
            return { text: JSON.stringify(answer), calls: 0 };
          });
        }
        const tools = toolNames.map((name) => ({
          type: 'function' as const,
          function: { name, description: name, parameters: schema },
        }));
        const asked = hasTools ? chosen.bindTools(tools) : chosen;
        return loop(async () => {
          const answer = await asked.invoke(said);
          said.push(answer);
          const calls = answer.tool_calls ?? [];
          for (const { id = '', args } of calls) {
            said.push(new ToolMessage({ content: resultOf(args), tool_call_id: id }));
          }
          return { text: answer.text, calls: calls.length };
        });
      },
      async stream({ model }, signal, onText) {
        for await (const _chunk of await modelOf(model).stream('Hi', { signal })) onText();
      },
    };
  };

const settings = (url: string) => ({ baseURL: `${url}/v1`, apiKey: 'any' });

const clients: Readonly<Record<string, Create>> = {
  'openai (chat)': chat,
  'openai (responses)': responses,
  '@anthropic-ai/sdk': messages,
  '@google/genai': gemini,
  'ai with openai-compatible': aiSdk((url) =>
    createOpenAICompatible({ name: 'gateway', supportsStructuredOutputs: true, ...settings(url) }),
  ),
  'ai with openai': aiSdk((url) => createOpenAI(settings(url)).responses, {
    openai: { reasoningEffort: 'low', store: false, include: ['reasoning.encrypted_content'] },
  }),
  'ai with anthropic': aiSdk((url) => createAnthropic(settings(url)), {
    anthropic: { thinking: { type: 'enabled', budgetTokens: 1_024 } },
  }),
  'langchain (chat)': langchain(false),
  'langchain (responses)': langchain(true),
};

const cases: readonly (readonly [
  scenario: string,
  wish: Omit<Wish, 'model'>,
  rounds: number[],
  text: RegExp,
])[] = [
  ['text', {}, [], new RegExp(`^${soundText}$`)],
  ['tools', { hasTools: true }, [2], /4 degrees in Place 1.*4 degrees in Place 2/s],
  [
    'thinking',
    { hasTools: true, isThinking: true },
    [1, 1, 1],
    /4 degrees in Place 1.*4 degrees in Place 2.*4 degrees in Place 3/s,
  ],
  ['json', { hasSchema: true }, [], /^\{"city":"[^"]+"\}$/],
  ['image', { hasImage: true }, [], /image image\/png of \d+ bytes/],
];

describe.each(protocols)('over an upstream of %s', (upstream) => {
  let services: UpstreamServices<'up'>;
  beforeAll(async () => {
    services = await startUpstreams({ up: { protocol: upstream } });
  });
  afterAll(() => services.close());

  describe.each(Object.entries(clients))('%s', (_name, create) => {
    const client = () => create(services.gatewayUrl);
    const modelThat = (scenario: string) => `up/${modelOf(upstream, scenario)}`;

    it.each(cases)('goes through %s', async (scenario, wish, rounds, text) => {
      const heard = await client().ask({ model: modelThat(scenario), ...wish });
      expect(heard).toEqual({ rounds, text: expect.stringMatching(text) });
    });

    it('hears of a prompt that is too long', async () => {
      const asking = client().ask({ model: modelThat('text-too-long') });
      const error = (await asking.catch((thrown: unknown) => thrown)) as {
        status?: number;
        statusCode?: number;
        cause?: { status?: number };
      };
      expect(error.status ?? error.statusCode ?? error.cause?.status).toBe(400);
    });

    it('cuts the upstream off when it leaves', async () => {
      const leave = new AbortController();
      const reading = client()
        .stream({ model: modelThat('ticks') }, leave.signal, () => leave.abort())
        .catch(() => undefined);
      await reading;
      await eventually('the upstream is cut off', () => services.vendors.up.turns.at(-1)?.wasCut);
    });
  });
});
