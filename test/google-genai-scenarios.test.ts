import {
  ApiError,
  type CallableTool,
  type GenerateContentConfig,
  type GenerateContentResponse,
  GoogleGenAI,
  type Part,
} from '@google/genai';
import {
  type Ask,
  type JudgeOptions,
  judgeSdks,
  type SdkJudge,
  weatherParameters,
} from './support/sdk-scenarios.ts';

function gemini({ url, apiKey }: JudgeOptions): SdkJudge {
  const client = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url } });
  const paramsOf = ({ model, prompt, image, signal }: Ask, more: GenerateContentConfig = {}) => {
    const picture: Part[] =
      image === undefined ? [] : [{ inlineData: { mimeType: 'image/png', data: image } }];
    return {
      model,
      contents: [{ role: 'user', parts: [...picture, { text: prompt }] }],
      config: { ...more, ...(signal && { abortSignal: signal }) },
    };
  };
  const heard = (text: string, { usageMetadata }: GenerateContentResponse) => ({
    text,
    inputTokens: usageMetadata?.promptTokenCount ?? 0,
    outputTokens: usageMetadata?.candidatesTokenCount ?? 0,
  });

  async function read(
    chunks: AsyncIterable<GenerateContentResponse>,
    onText: (text: string) => void,
  ): Promise<{ text: string; last: GenerateContentResponse }> {
    let text = '';
    let last: GenerateContentResponse | undefined;
    for await (const chunk of chunks) {
      text += chunk.text ?? '';
      onText(chunk.text ?? '');
      last = chunk;
    }
    if (last === undefined) throw new Error('Nothing came.');
    return { text, last };
  }

  return {
    unavailable: 503,
    async answer(ask) {
      const answer = await client.models.generateContent(paramsOf(ask));
      return heard(answer.text ?? '', answer);
    },
    async stream(ask, onText) {
      const { text, last } = await read(await client.models.generateContentStream(paramsOf(ask)), onText);
      return heard(text, last);
    },
    /** The SDK's own loop: it calls the tool, and sends back what it says. */
    async loop(ask, run, isStream) {
      const tool: CallableTool = {
        tool: async () => ({
          functionDeclarations: [
            {
              name: 'get_weather',
              description: 'The weather of a city',
              parametersJsonSchema: weatherParameters,
            },
          ],
        }),
        callTool: async (calls) =>
          calls.map(({ id, name = '', args }) => {
            const response = answered(() => run(String(args?.['city'])));
            return { functionResponse: { ...(id && { id }), name, response } };
          }),
      };
      const params = paramsOf(ask, { tools: [tool] });
      if (!isStream) return (await client.models.generateContent(params)).text ?? '';
      return (await read(await client.models.generateContentStream(params), () => {})).text;
    },
    async object(ask) {
      const more = { responseMimeType: 'application/json', responseJsonSchema: weatherParameters };
      return JSON.parse((await client.models.generateContent(paramsOf(ask, more))).text ?? '') as unknown;
    },
    bad: {
      param: 'generationConfig.responseLogprobs',
      send: (ask) => client.models.generateContent(paramsOf(ask, { responseLogprobs: true })),
    },
    seen(thrown, expectedStatus) {
      const own = thrown instanceof ApiError ? thrown : undefined;
      const { error } = JSON.parse(own?.message ?? '{}') as {
        readonly error?: {
          readonly code: number;
          readonly message: string;
          readonly details?: readonly object[];
        };
      };
      const delays = error?.details?.map((detail) =>
        'retryDelay' in detail ? String(detail.retryDelay) : '',
      );
      return {
        isOwnClass: error?.code === expectedStatus,
        status: own?.status,
        message: error?.message ?? '',
        retryAfter: delays?.find((delay) => delay !== '')?.replace('s', ''),
      };
    },
  };
}

function answered(run: () => string): Record<string, unknown> {
  try {
    return { output: run() };
  } catch (error) {
    return { error: String(error) };
  }
}

judgeSdks({ 'the Google Gen AI SDK': gemini });
