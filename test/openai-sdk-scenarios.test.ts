import OpenAI from 'openai';
import type { ResponseInput } from 'openai/resources/responses/responses';
import {
  type Ask,
  type JudgeOptions,
  judgeSdks,
  type SdkJudge,
  weatherParameters,
} from './support/sdk-scenarios.ts';

const format = { name: 'city', strict: true, schema: weatherParameters };
const badParameter = { top_logprobs: 2 };

const classes: Record<number, unknown> = {
  400: OpenAI.BadRequestError,
  401: OpenAI.AuthenticationError,
  404: OpenAI.NotFoundError,
  429: OpenAI.RateLimitError,
  502: OpenAI.InternalServerError,
};

function seen(thrown: unknown, expectedStatus: number): ReturnType<SdkJudge['seen']> {
  const error = thrown instanceof OpenAI.APIError ? thrown : undefined;
  return {
    isOwnClass: error?.constructor === classes[expectedStatus],
    status: error?.status,
    message: String((thrown as Error).message),
    retryAfter: error?.headers?.get('retry-after') ?? undefined,
    param: error?.param,
  };
}

const clientOf = ({ url, apiKey }: JudgeOptions) =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const optionsOf = ({ signal }: Ask) => (signal === undefined ? {} : { signal });

function told(run: () => string): string {
  try {
    return run();
  } catch (error) {
    return String(error);
  }
}

function chat(options: JudgeOptions): SdkJudge {
  const client = clientOf(options);
  const bodyOf = ({ model, prompt, image }: Ask) => ({
    model,
    messages: [
      {
        role: 'user' as const,
        content: [
          ...(image === undefined
            ? []
            : [{ type: 'image_url' as const, image_url: { url: `data:image/png;base64,${image}` } }]),
          { type: 'text' as const, text: prompt },
        ],
      },
    ],
  });
  const heard = (answer: OpenAI.ChatCompletion) => ({
    text: answer.choices[0]?.message.content ?? '',
    inputTokens: answer.usage?.prompt_tokens ?? 0,
    outputTokens: answer.usage?.completion_tokens ?? 0,
  });

  return {
    unavailable: 502,
    answer: async (ask) => heard(await client.chat.completions.create(bodyOf(ask), optionsOf(ask))),
    async stream(ask, onText) {
      const body = { ...bodyOf(ask), stream_options: { include_usage: true } };
      const stream = client.chat.completions.stream(body, optionsOf(ask));
      stream.on('content', (piece) => onText(piece));
      return heard(await stream.finalChatCompletion());
    },
    async loop(ask, run, isStream) {
      const tool = {
        type: 'function' as const,
        function: {
          name: 'get_weather',
          description: 'The weather of a city',
          parameters: weatherParameters,
          parse: (text: string) => JSON.parse(text) as { city: string },
          // What a tool throws ends this loop, so the tool says it.
          function: ({ city }: { city: string }) => told(() => run(city)),
        },
      };
      const body = { ...bodyOf(ask), tools: [tool] };
      const runner = isStream
        ? client.chat.completions.runTools({ ...body, stream: true })
        : client.chat.completions.runTools(body);
      return (await runner.finalContent()) ?? '';
    },
    async object(ask) {
      const answer = await client.chat.completions.parse({
        ...bodyOf(ask),
        response_format: { type: 'json_schema', json_schema: format },
      });
      const message = answer.choices[0]?.message;
      return message?.parsed ?? JSON.parse(message?.content ?? '');
    },
    bad: {
      param: 'top_logprobs',
      send: (ask) => client.chat.completions.create({ ...bodyOf(ask), ...badParameter }),
    },
    seen,
  };
}

function responses(options: JudgeOptions): SdkJudge {
  const client = clientOf(options);
  const bodyOf = ({ model, prompt, image }: Ask) => ({
    model,
    input: [
      {
        role: 'user' as const,
        content: [
          ...(image === undefined
            ? []
            : [
                {
                  type: 'input_image' as const,
                  detail: 'auto' as const,
                  image_url: `data:image/png;base64,${image}`,
                },
              ]),
          { type: 'input_text' as const, text: prompt },
        ],
      },
    ] as ResponseInput,
  });
  const heard = (response: OpenAI.Responses.Response) => ({
    text: response.output_text,
    inputTokens: response.usage?.input_tokens ?? 0,
    outputTokens: response.usage?.output_tokens ?? 0,
  });
  const weatherTool = {
    type: 'function' as const,
    name: 'get_weather',
    strict: true,
    parameters: weatherParameters,
  };

  return {
    unavailable: 502,
    answer: async (ask) => heard(await client.responses.create(bodyOf(ask), optionsOf(ask))),
    async stream(ask, onText) {
      const stream = client.responses.stream(bodyOf(ask), optionsOf(ask));
      stream.on('response.output_text.delta', ({ delta }) => onText(delta));
      return heard(await stream.finalResponse());
    },
    // The SDK has no loop of its own here: this is the one its documentation shows.
    async loop(ask, run, isStream) {
      const { model, input } = bodyOf(ask);
      for (let round = 0; round < 5; round += 1) {
        const body = { model, input, tools: [weatherTool], store: false };
        const response = isStream
          ? await client.responses.stream(body).finalResponse()
          : await client.responses.create(body);
        const output = response.output as OpenAI.Responses.ResponseOutputItem[];
        const calls = output.filter((item) => item.type === 'function_call');
        if (calls.length === 0) return response.output_text;
        // What parsing adds to an item is no part of the wire.
        for (const { parsed_arguments: _, ...item } of response.output as ({
          parsed_arguments?: unknown;
        } & object)[])
          input.push(item as ResponseInput[number]);
        for (const call of calls) {
          const { city } = JSON.parse(call.arguments) as { city: string };
          const output = told(() => run(city));
          input.push({ type: 'function_call_output', call_id: call.call_id, output });
        }
      }
      throw new Error('The loop has no end.');
    },
    async object(ask) {
      const text = { format: { type: 'json_schema' as const, ...format } };
      return (await client.responses.parse({ ...bodyOf(ask), text })).output_parsed;
    },
    bad: {
      param: 'top_logprobs',
      send: (ask) => client.responses.create({ ...bodyOf(ask), ...badParameter }),
    },
    seen,
  };
}

judgeSdks({ 'the OpenAI SDK on Chat Completions': chat, 'the OpenAI SDK on Responses': responses });
