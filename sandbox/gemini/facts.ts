// What the scenarios look at in a request of the Gemini API.
import type { JsonObject } from '../struct.ts';
import type { Facts } from '../vendor/scenarios.ts';
import { currentTurn } from './check.ts';
import type { Content, GenerateRequest } from './request.ts';

export function factsOf(request: GenerateRequest): Facts {
  const { contents = [], tools = [], toolConfig, systemInstruction, generationConfig: config = {} } = request;
  const { mode, allowedFunctionNames: allowed } = toolConfig?.functionCallingConfig ?? {};
  const offered = tools.flatMap(({ functionDeclarations = [] }) =>
    functionDeclarations.map(({ name, parameters, parametersJsonSchema: schema }) => ({
      name,
      schema: schema ?? smallTyped(parameters) ?? {},
    })),
  );
  const since = currentTurn(contents);
  const parts = contents.flatMap(({ parts: own = [] }) => own);
  const texts = textsOf(contents.filter(({ role }) => role !== 'model'));
  const said = textsOf(contents);
  const last = contents.at(-1);
  const steps = since.filter(({ parts: own = [] }) => own.some(({ functionCall }) => functionCall));
  const media = [...parts, ...parts.flatMap(({ functionResponse }) => functionResponse?.parts ?? [])].flatMap(
    ({ inlineData }) => (inlineData ? [inlineData] : []),
  );
  return {
    text: texts.at(-1) ?? '',
    rules: textsOf([systemInstruction ?? {}]).join('\n\n'),
    earlier: said.slice(0, said.lastIndexOf(texts.at(-1) ?? '')),
    begun: last?.role === 'model' ? textsOf([last]).join('') : undefined,
    tools: offered.filter(({ name }) => allowed?.includes(name) ?? true),
    results: since.flatMap((content, index) => resultsOf(content.parts ?? [], since[index - 1]?.parts ?? [])),
    rounds: steps.length,
    media: media.map(({ mimeType, data }) => ({
      kind: mimeType.startsWith('image/') ? 'image' : 'document',
      type: mimeType,
      bytes: Buffer.from(data, 'base64').length,
    })),
    schema: schemaOf(config),
    isJson: config.responseMimeType === 'application/json',
    isThinking: config.thinkingConfig?.thinkingBudget !== 0,
    stop: config.stopSequences,
    maxTokens: config.maxOutputTokens,
    mustCall: mode === 'ANY',
    mayCall: mode !== 'NONE',
    isParallel: true,
  };
}

function textsOf(contents: readonly Content[]): string[] {
  return contents.flatMap(({ parts = [] }) =>
    parts.flatMap(({ text }) => (text === undefined ? [] : [text])),
  );
}

type Parts = NonNullable<NonNullable<GenerateRequest['contents']>[number]['parts']>;

/** Responses belong to calls by id where they have one, else by their place. */
function resultsOf(parts: Parts, before: Parts): Facts['results'] {
  const responses = parts.flatMap(({ functionResponse }) => functionResponse ?? []);
  const calls = before.flatMap(({ functionCall }) => functionCall ?? []);
  return calls.flatMap(({ id, name, args = {} }, index) => {
    const byId = responses.find((response) => response.id !== undefined && response.id === id);
    const response = byId ?? responses[index];
    if (response === undefined) return [];
    const fields = Object.values(response.response ?? {});
    const text = fields.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))).join('\n');
    return [{ name, args, text, images: response.parts?.length ?? 0 }];
  });
}

function schemaOf({ responseJsonSchema, responseSchema }: NonNullable<GenerateRequest['generationConfig']>) {
  return responseJsonSchema ?? smallTyped(responseSchema);
}

/** JSON Schema has its types in small letters. */
function smallTyped(schema: unknown): JsonObject | undefined {
  if (schema === undefined) return undefined;
  const text = JSON.stringify(schema);
  return JSON.parse(
    text.replace(/"type":"([A-Z]+)"/g, (_found, type: string) => `"type":"${type.toLowerCase()}"`),
  ) as JsonObject;
}
