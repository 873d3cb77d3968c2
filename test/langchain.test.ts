import { type AIMessageChunk, type BaseMessage, HumanMessage, ToolMessage } from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import OpenAI from 'openai';
import { expect, it } from 'vitest';
import {
  type Ask,
  type Heard,
  type JudgeOptions,
  judgeSdks,
  type SdkJudge,
  weatherParameters,
} from './support/sdk-scenarios.ts';

const weatherTool = {
  type: 'function' as const,
  function: { name: 'get_weather', description: 'The weather of a city', parameters: weatherParameters },
};

function langchain(
  useResponsesApi: boolean,
  method: 'jsonSchema' | 'functionCalling',
): (options: JudgeOptions) => SdkJudge {
  return ({ url, apiKey }) => {
    const modelOf = (name: string, more: Record<string, unknown> = {}) =>
      new ChatOpenAI({
        model: name,
        apiKey,
        maxRetries: 0,
        useResponsesApi,
        streamUsage: true,
        configuration: { baseURL: `${url}/v1` },
        modelKwargs: more,
      });
    const messagesOf = ({ prompt, image }: Ask): BaseMessage[] => [
      new HumanMessage({
        content: [
          ...(image === undefined
            ? []
            : [{ type: 'image_url' as const, image_url: { url: `data:image/png;base64,${image}` } }]),
          { type: 'text' as const, text: prompt },
        ],
      }),
    ];
    const heard = (message: {
      text: string;
      usage_metadata?: { input_tokens: number; output_tokens: number } | undefined;
    }): Heard => ({
      text: message.text,
      inputTokens: message.usage_metadata?.input_tokens ?? 0,
      outputTokens: message.usage_metadata?.output_tokens ?? 0,
    });
    async function collect(
      stream: AsyncIterable<AIMessageChunk>,
      onText: (text: string) => void,
    ): Promise<AIMessageChunk> {
      let whole: AIMessageChunk | undefined;
      for await (const chunk of stream) {
        if (chunk.text !== '') onText(chunk.text);
        whole = whole === undefined ? chunk : whole.concat(chunk);
      }
      if (whole === undefined) throw new Error('The stream brought nothing.');
      return whole;
    }

    return {
      unavailable: 502,
      answer: async (ask) => heard(await modelOf(ask.model).invoke(messagesOf(ask))),
      async stream(ask, onText) {
        const settings = ask.signal === undefined ? {} : { signal: ask.signal };
        return heard(await collect(await modelOf(ask.model).stream(messagesOf(ask), settings), onText));
      },
      async loop(ask, run, isStream) {
        const model = modelOf(ask.model).bindTools([weatherTool]);
        const messages = messagesOf(ask);
        for (let round = 0; round < 5; round += 1) {
          const message = isStream
            ? await collect(await model.stream(messages), () => {})
            : await model.invoke(messages);
          const calls = message.tool_calls ?? [];
          if (calls.length === 0) return message.text;
          messages.push(message);
          for (const call of calls) {
            const id = { tool_call_id: call.id ?? '', name: call.name };
            try {
              messages.push(new ToolMessage({ ...id, content: run(String(call.args['city'])) }));
            } catch (error) {
              messages.push(new ToolMessage({ ...id, status: 'error', content: String(error) }));
            }
          }
        }
        throw new Error('The loop has no end.');
      },
      object: (ask) =>
        modelOf(ask.model)
          .withStructuredOutput({ title: 'city', ...weatherParameters }, { name: 'city', method })
          .invoke(messagesOf(ask)),
      bad: {
        param: 'top_logprobs',
        send: (ask) => modelOf(ask.model, { top_logprobs: 2 }).invoke(messagesOf(ask)),
      },
      seen(thrown, expectedStatus) {
        const codes: Record<number, string> = {
          401: 'MODEL_AUTHENTICATION',
          404: 'MODEL_NOT_FOUND',
          429: 'MODEL_RATE_LIMIT',
        };
        const error = thrown instanceof OpenAI.APIError ? thrown : undefined;
        const { lc_error_code: code } = thrown as { lc_error_code?: string };
        return {
          isOwnClass: error !== undefined && code === codes[expectedStatus],
          status: error?.status,
          message: String((thrown as Error).message),
          retryAfter: error?.headers?.get('retry-after') ?? undefined,
          param: error?.param,
        };
      },
    };
  };
}

const at = judgeSdks({
  'LangChain on Chat Completions': langchain(false, 'jsonSchema'),
  'LangChain on Responses': langchain(true, 'jsonSchema'),
});

it('gets an object by demanding a tool', async () => {
  const judge = langchain(false, 'functionCalling')(at());
  const ask = { model: 'sandbox-echo', prompt: 'call city {"city": "Oslo"}' };
  expect(await judge.object(ask)).toEqual({ city: 'Oslo' });
});
