import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import {
  APICallError,
  generateText,
  isStepCount,
  jsonSchema,
  type LanguageModel,
  Output,
  streamText,
  tool,
} from 'ai';
import {
  type Ask,
  type JudgeOptions,
  judgeSdks,
  type SdkJudge,
  weatherParameters,
} from './support/sdk-scenarios.ts';

type ProviderOptions = NonNullable<Parameters<typeof generateText>[0]['providerOptions']>;

const citySchema = jsonSchema<{ city: string }>(weatherParameters);

/** The AI SDK over one of its providers. */
function aiSdk(
  modelOf: (options: JudgeOptions) => (name: string) => LanguageModel,
  more: Pick<SdkJudge, 'unavailable'> & {
    objectPrompt?: string;
    bad?: { param: string; options: ProviderOptions };
  },
): (options: JudgeOptions) => SdkJudge {
  return (options) => {
    const model = modelOf(options);
    const { unavailable, objectPrompt, bad } = more;
    const base = (ask: Ask) => ({
      model: model(ask.model),
      maxRetries: 0,
      maxOutputTokens: 1_000,
      ...(ask.signal === undefined ? {} : { abortSignal: ask.signal }),
      messages: [
        {
          role: 'user' as const,
          content: [
            ...(ask.image === undefined
              ? []
              : [{ type: 'file' as const, mediaType: 'image/png', data: ask.image }]),
            { type: 'text' as const, text: ask.prompt },
          ],
        },
      ],
    });
    /** Errors of a stream come as parts; whoever wants to see them has to look. */
    async function read(
      result: ReturnType<typeof streamText>,
      onText: (text: string) => void,
    ): Promise<void> {
      for await (const part of result.fullStream) {
        if (part.type === 'text-delta') onText(part.text);
        if (part.type === 'error') throw part.error;
      }
    }
    const heard = (
      text: string,
      usage: { inputTokens: number | undefined; outputTokens: number | undefined },
    ) => ({
      text,
      inputTokens: usage.inputTokens ?? 0,
      outputTokens: usage.outputTokens ?? 0,
    });

    return {
      unavailable,
      ...(objectPrompt === undefined ? {} : { objectPrompt }),
      async answer(ask) {
        const { text, usage } = await generateText(base(ask));
        return heard(text, usage);
      },
      async stream(ask, onText) {
        const result = streamText({ ...base(ask), onError() {} });
        await read(result, onText);
        return heard(await result.text, await result.usage);
      },
      async loop(ask, run, isStream) {
        const tools = {
          get_weather: tool({ inputSchema: citySchema, execute: async ({ city }) => run(city) }),
        };
        const settings = { ...base(ask), tools, stopWhen: isStepCount(5) };
        if (!isStream) return (await generateText(settings)).text;
        const result = streamText(settings);
        for await (const part of result.fullStream) if (part.type === 'error') throw part.error;
        return result.text;
      },
      async object(ask) {
        return (await generateText({ ...base(ask), output: Output.object({ schema: citySchema }) })).output;
      },
      ...(bad === undefined
        ? {}
        : {
            bad: {
              param: bad.param,
              send: (ask) => generateText({ ...base(ask), providerOptions: bad.options }),
            },
          }),
      seen(thrown) {
        const error = APICallError.isInstance(thrown) ? thrown : undefined;
        return {
          isOwnClass: error !== undefined,
          status: error?.statusCode,
          message: String((thrown as Error).message),
          retryAfter: error?.responseHeaders?.['retry-after'],
        };
      },
    };
  };
}

judgeSdks({
  'the AI SDK on Chat Completions': aiSdk(
    ({ url, apiKey }) => createOpenAI({ baseURL: `${url}/v1`, apiKey }).chat,
    { unavailable: 502, bad: { param: 'logit_bias', options: { openai: { logitBias: { '1': 1 } } } } },
  ),
  'the AI SDK on Responses': aiSdk(
    ({ url, apiKey }) => createOpenAI({ baseURL: `${url}/v1`, apiKey }).responses,
    {
      unavailable: 502,
      bad: { param: 'top_logprobs', options: { openai: { logprobs: 2 } } },
    },
  ),
  'the AI SDK on Chat Completions of a compatible provider': aiSdk(
    ({ url, apiKey }) =>
      createOpenAICompatible({
        baseURL: `${url}/v1`,
        apiKey,
        name: 'gateway',
        includeUsage: true,
        supportsStructuredOutputs: true,
      }),
    { unavailable: 502, bad: { param: 'logit_bias', options: { gateway: { logit_bias: { '1': 1 } } } } },
  ),
  'the AI SDK on Messages': aiSdk(({ url, apiKey }) => createAnthropic({ baseURL: `${url}/v1`, apiKey }), {
    unavailable: 500,
    bad: {
      param: 'mcp_servers',
      options: { anthropic: { mcpServers: [{ type: 'url', name: 'x', url: 'https://example.com' }] } },
    },
    // For a model it does not know this provider asks for an object by demanding a tool.
    objectPrompt: 'call json {"city": "Oslo"}',
  }),
});
