import { z } from 'zod';
import { calledName, jsonObject, readLater, toolName } from '../shared/request.ts';

/**
 * A request to generate content, as far as it is read here, with the names of its fields in camel case. Other fields are let through:
 * fields.ts says what becomes of them. Source: the reference of the Gemini API, "Generating content".
 */

const text = z.string().nullish();
const blob = z.looseObject({ mimeType: text, data: text, displayName: text });
const fileData = z.looseObject({ mimeType: text, fileUri: text, displayName: text });

const functionCall = z.looseObject({
  id: text,
  name: calledName,
  args: readLater(jsonObject).nullish(),
});

export const responsePart = z.looseObject({ inlineData: blob.nullish(), fileData: fileData.nullish() });

const functionResponse = z.looseObject({
  id: text,
  name: calledName,
  response: readLater(jsonObject).nullish(),
  parts: readLater(z.array(responsePart)).nullish(),
});

/** What the provider's own tools leave in an answer. */
export const providerParts = ['executableCode', 'codeExecutionResult', 'toolCall', 'toolResponse'] as const;

/** One of these fields says what the part is. */
const partKinds = ['text', 'inlineData', 'fileData', 'functionCall', 'functionResponse', ...providerParts];

export const part = z
  .looseObject({
    text,
    thought: z.boolean().nullish().catch(undefined),
    thoughtSignature: z.string().nullish().catch(undefined),
    inlineData: blob.nullish(),
    fileData: fileData.nullish(),
    functionCall: functionCall.nullish(),
    functionResponse: functionResponse.nullish(),
  })
  .refine(
    (value) => 'thoughtSignature' in value || partKinds.some((kind) => (value[kind] ?? null) !== null),
    `must have one of ${partKinds.slice(0, 5).join(', ')}`,
  );

export const content = z.looseObject({
  role: z.enum(['user', 'model', 'function'], 'must be "user" or "model"').nullish(),
  parts: readLater(z.array(part)).optional(),
});

const textPart = z.looseObject({ text: z.string() });
const textParts = z.union([z.array(textPart), textPart], 'must be a list of parts with text');
/** A content, or what REST clients write in its place. */
const systemInstruction = z.union(
  [z.string(), z.looseObject({ parts: textParts }), textParts],
  'must be a content with parts of text',
);

export const functionDeclaration = z.looseObject({
  name: toolName,
  description: text,
  parameters: jsonObject.nullish(),
  parametersJsonSchema: jsonObject.nullish(),
});

const tool = z.looseObject({ functionDeclarations: z.array(functionDeclaration).max(512).nullish() });

const functionCallingConfig = z.looseObject({
  mode: z
    .enum(
      ['MODE_UNSPECIFIED', 'AUTO', 'ANY', 'NONE', 'VALIDATED'],
      'must be "AUTO", "ANY", "NONE" or "VALIDATED"',
    )
    .nullish(),
  allowedFunctionNames: z.array(z.string()).nullish(),
});

const thinkingLevels = ['THINKING_LEVEL_UNSPECIFIED', 'MINIMAL', 'LOW', 'MEDIUM', 'HIGH', 'XHIGH'] as const;

const thinkingConfig = z.looseObject({
  includeThoughts: z.boolean().nullish(),
  thinkingBudget: z.int().min(-1).nullish(),
  thinkingLevel: z.preprocess(upperCased, z.enum(thinkingLevels).nullish()).optional(),
});

const generationConfig = z.looseObject({
  candidateCount: z.int().min(1).max(128).nullish(),
  maxOutputTokens: z.int().min(1).nullish(),
  stopSequences: z.array(z.string().max(1024)).max(64).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  topP: z.number().min(0).max(1).nullish(),
  topK: z.number().min(0).nullish(),
  seed: z.int().nullish(),
  presencePenalty: z.number().min(-2).max(2).nullish(),
  frequencyPenalty: z.number().min(-2).max(2).nullish(),
  responseMimeType: text,
  responseSchema: jsonObject.nullish(),
  responseJsonSchema: jsonObject.nullish(),
  thinkingConfig: thinkingConfig.nullish(),
});

export const generateRequest = z.looseObject({
  contents: z.array(readLater(content)).min(1, 'must hold at least one content'),
  systemInstruction: systemInstruction.nullish(),
  tools: z.array(tool).max(512).nullish(),
  toolConfig: z.looseObject({ functionCallingConfig: functionCallingConfig.nullish() }).nullish(),
  generationConfig: generationConfig.nullish(),
});

/** Contents alone, or the whole request they are part of. */
export const countTokensRequest = z.looseObject({ generateContentRequest: generateRequest.nullish() });

export type GenerateRequest = z.infer<typeof generateRequest>;
export type Content = z.infer<typeof content>;
export type Part = z.infer<typeof part>;
export type FunctionResponse = z.infer<typeof functionResponse>;
export type ResponsePart = z.infer<typeof responsePart>;
export type FunctionDeclaration = z.infer<typeof functionDeclaration>;

function upperCased(value: unknown): unknown {
  return typeof value === 'string' ? value.toUpperCase() : value;
}

/** Whatever these hold has names of its client's own. */
const opaque: ReadonlySet<string> = new Set([
  'args',
  'labels',
  'parameters',
  'parametersJsonSchema',
  'partMetadata',
  'response',
  'responseJsonSchema',
  'responseSchema',
]);

/** The same request with every field under its name in camel case: the API takes snake case too. */
export function withCamelNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withCamelNames);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([given, inner]): [string, unknown] => {
      const name = given.replaceAll(/(?<=[a-z0-9])_([a-z])/g, (_match, letter: string) =>
        letter.toUpperCase(),
      );
      return [name, opaque.has(name) ? inner : withCamelNames(inner)];
    }),
  );
}
