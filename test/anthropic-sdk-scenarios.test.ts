import Anthropic from '@anthropic-ai/sdk';
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema';
import { jsonSchemaOutputFormat } from '@anthropic-ai/sdk/helpers/json-schema';
import { expect, it } from 'vitest';
import {
  type Ask,
  type JudgeOptions,
  judgeSdks,
  type SdkJudge,
  weatherParameters,
} from './support/sdk-scenarios.ts';

const classes: Record<number, unknown> = {
  400: Anthropic.BadRequestError,
  401: Anthropic.AuthenticationError,
  404: Anthropic.NotFoundError,
  429: Anthropic.RateLimitError,
  500: Anthropic.InternalServerError,
};

/** With a thread the SDK sends only what is new and falls back to the whole history; without, the whole at once. */
function messages(hasThread: boolean): (options: JudgeOptions) => SdkJudge {
  return ({ url, apiKey }) => {
    const client = new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
    const bodyOf = ({ model, prompt, image }: Ask) => ({
      model,
      max_tokens: 1_000,
      messages: [
        {
          role: 'user' as const,
          content: [
            ...(image === undefined
              ? []
              : [
                  {
                    type: 'image' as const,
                    source: { type: 'base64' as const, media_type: 'image/png' as const, data: image },
                  },
                ]),
            { type: 'text' as const, text: prompt },
          ],
        },
      ],
    });
    const optionsOf = ({ signal }: Ask) => (signal === undefined ? {} : { signal });
    const textOf = (content: readonly { readonly type: string }[]) =>
      content.map((block) => ('text' in block ? String(block.text) : '')).join('');
    const heard = ({ content, usage }: Anthropic.Message) => ({
      text: textOf(content),
      inputTokens: usage.input_tokens,
      outputTokens: usage.output_tokens,
    });

    return {
      unavailable: 500,
      answer: async (ask) => heard(await client.messages.create(bodyOf(ask), optionsOf(ask))),
      async stream(ask, onText) {
        const stream = client.messages.stream(bodyOf(ask), optionsOf(ask));
        stream.on('text', (piece) => onText(piece));
        return heard(await stream.finalMessage());
      },
      async loop(ask, run, isStream) {
        const tool = betaTool({
          name: 'get_weather',
          description: 'The weather of a city',
          inputSchema: weatherParameters,
          run: ({ city }) => run(String(city)),
        });
        const body = { ...bodyOf(ask), tools: [tool], ...(hasThread ? {} : { thread: false as const }) };
        const runner = isStream
          ? client.beta.messages.toolRunner({ ...body, stream: true })
          : client.beta.messages.toolRunner(body);
        return textOf((await runner.runUntilDone()).content);
      },
      async object(ask) {
        const output_config = { format: jsonSchemaOutputFormat(weatherParameters) };
        return (await client.messages.parse({ ...bodyOf(ask), output_config })).parsed_output;
      },
      bad: {
        param: 'tool_choice',
        send: (ask) =>
          client.messages.create({ ...bodyOf(ask), tool_choice: { type: 'tool', name: 'not_offered' } }),
      },
      seen(thrown, expectedStatus) {
        const error = thrown instanceof Anthropic.APIError ? thrown : undefined;
        return {
          isOwnClass: error?.constructor === classes[expectedStatus],
          status: error?.status,
          message: String((thrown as Error).message),
          retryAfter: error?.headers?.get('retry-after') ?? undefined,
        };
      },
    };
  };
}

const at = judgeSdks({ 'the Anthropic SDK': messages(true) });

it('runs a loop of tools without a thread too', async () => {
  const ask = { model: 'sandbox', prompt: 'call get_weather {"city": "Oslo"}' };
  for (const isStream of [false, true]) {
    const text = await messages(false)(at()).loop(ask, (city) => `4 degrees in ${city}`, isStream);
    expect(text).toBe('Tool get_weather returned: 4 degrees in Oslo');
  }
});
