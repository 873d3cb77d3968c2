// What the Gemini API takes: the fields of its documentation, and no others.
import { z } from 'zod';

const inline = z.strictObject({ mimeType: z.string(), data: z.base64(), displayName: z.string().optional() });
const fileData = z.strictObject({
  mimeType: z.string().optional(),
  fileUri: z.string(),
  displayName: z.string().optional(),
});
const struct = z.record(z.string(), z.json());

const part = z.strictObject({
  text: z.string().optional(),
  thought: z.boolean().optional(),
  thoughtSignature: z.string().optional(),
  inlineData: inline.optional(),
  fileData: fileData.optional(),
  functionCall: z
    .strictObject({ id: z.string().optional(), name: z.string(), args: struct.optional() })
    .optional(),
  functionResponse: z
    .strictObject({
      id: z.string().optional(),
      name: z.string().optional(),
      response: struct.optional(),
      parts: z
        .array(z.strictObject({ inlineData: inline.optional(), fileData: fileData.optional() }))
        .optional(),
      willContinue: z.boolean().optional(),
      scheduling: z.string().optional(),
    })
    .optional(),
  executableCode: z.looseObject({}).optional(),
  codeExecutionResult: z.looseObject({}).optional(),
  toolCall: z.looseObject({}).optional(),
  toolResponse: z.looseObject({}).optional(),
  videoMetadata: z.looseObject({}).optional(),
  mediaResolution: z.looseObject({}).optional(),
  partMetadata: z.looseObject({}).optional(),
});
export type Part = z.infer<typeof part>;

export const content = z.strictObject({ role: z.string().optional(), parts: z.array(part).optional() });
export type Content = z.infer<typeof content>;

/** The vendor's own dialect of JSON Schema. */
const schema: z.ZodType = z.strictObject({
  type: z
    .string()
    .regex(/^(TYPE_UNSPECIFIED|STRING|NUMBER|INTEGER|BOOLEAN|ARRAY|OBJECT|NULL)$/i)
    .optional(),
  format: z.string().optional(),
  title: z.string().optional(),
  description: z.string().optional(),
  nullable: z.boolean().optional(),
  enum: z.array(z.string()).optional(),
  maxItems: z.union([z.string(), z.number()]).optional(),
  minItems: z.union([z.string(), z.number()]).optional(),
  get properties() {
    return z.record(z.string(), schema).optional();
  },
  required: z.array(z.string()).optional(),
  minProperties: z.union([z.string(), z.number()]).optional(),
  maxProperties: z.union([z.string(), z.number()]).optional(),
  minLength: z.union([z.string(), z.number()]).optional(),
  maxLength: z.union([z.string(), z.number()]).optional(),
  pattern: z.string().optional(),
  example: z.json().optional(),
  get anyOf() {
    return z.array(schema).optional();
  },
  propertyOrdering: z.array(z.string()).optional(),
  default: z.json().optional(),
  get items() {
    return schema.optional();
  },
  minimum: z.number().optional(),
  maximum: z.number().optional(),
});
const jsonSchema = z.record(z.string(), z.json());

const declaration = z.strictObject({
  name: z
    .string()
    .regex(
      /^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$/,
      'Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.',
    ),
  description: z.string().optional(),
  behavior: z.string().optional(),
  parameters: schema.optional(),
  parametersJsonSchema: jsonSchema.optional(),
  response: schema.optional(),
  responseJsonSchema: z.json().optional(),
});

const tool = z.strictObject({
  functionDeclarations: z.array(declaration).optional(),
  googleSearch: z.looseObject({}).optional(),
  googleSearchRetrieval: z.looseObject({}).optional(),
  googleMaps: z.looseObject({}).optional(),
  codeExecution: z.looseObject({}).optional(),
  computerUse: z.looseObject({}).optional(),
  urlContext: z.looseObject({}).optional(),
  fileSearch: z.looseObject({}).optional(),
  mcpServers: z.array(z.looseObject({})).optional(),
});

const generationConfig = z.strictObject({
  candidateCount: z.int().min(1).max(8).optional(),
  stopSequences: z.array(z.string()).max(5).optional(),
  maxOutputTokens: z.int().min(1).optional(),
  temperature: z.number().min(0).max(2).optional(),
  topP: z.number().min(0).max(1).optional(),
  topK: z.number().optional(),
  seed: z.int().optional(),
  presencePenalty: z.number().optional(),
  frequencyPenalty: z.number().optional(),
  responseLogprobs: z.boolean().optional(),
  logprobs: z.int().optional(),
  enableEnhancedCivicAnswers: z.boolean().optional(),
  responseMimeType: z.string().optional(),
  responseSchema: schema.optional(),
  responseJsonSchema: jsonSchema.optional(),
  responseFormat: z.json().optional(),
  responseModalities: z.array(z.string()).optional(),
  speechConfig: z.looseObject({}).optional(),
  imageConfig: z.looseObject({}).optional(),
  mediaResolution: z.string().optional(),
  thinkingConfig: z
    .strictObject({
      includeThoughts: z.boolean().optional(),
      thinkingBudget: z.int().optional(),
      thinkingLevel: z
        .string()
        .regex(/^(THINKING_LEVEL_UNSPECIFIED|MINIMAL|LOW|MEDIUM|HIGH)$/i)
        .optional(),
    })
    .optional(),
});

export const generateRequest = z.strictObject({
  contents: z.array(content).optional(),
  systemInstruction: content.optional(),
  tools: z.array(tool).optional(),
  toolConfig: z
    .strictObject({
      functionCallingConfig: z
        .strictObject({
          mode: z.enum(['MODE_UNSPECIFIED', 'AUTO', 'ANY', 'NONE', 'VALIDATED']).optional(),
          allowedFunctionNames: z.array(z.string()).optional(),
          streamFunctionCallArguments: z.boolean().optional(),
        })
        .optional(),
      retrievalConfig: z.looseObject({}).optional(),
      includeServerSideToolInvocations: z.boolean().optional(),
    })
    .optional(),
  safetySettings: z
    .array(z.strictObject({ category: z.string(), threshold: z.string(), method: z.string().optional() }))
    .optional(),
  generationConfig: generationConfig.optional(),
  cachedContent: z.string().optional(),
  serviceTier: z.string().optional(),
  store: z.boolean().optional(),
  model: z.string().optional(),
});
export type GenerateRequest = z.infer<typeof generateRequest>;

export const countRequest = z.strictObject({
  contents: z.array(content).optional(),
  generateContentRequest: generateRequest.optional(),
});

/** What the owner of a message names stays as it is. */
const opaque = new Set(['args', 'response', 'parametersJsonSchema', 'responseJsonSchema', 'properties']);

/** Protocol buffers take each field by both of its names: `system_instruction` is `systemInstruction`. */
export function camelized(value: unknown, isOpaque = false): unknown {
  if (Array.isArray(value)) return value.map((item) => camelized(item, isOpaque));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => {
      const camel = isOpaque
        ? name
        : name.replace(/_([a-z])/g, (_found, letter: string) => letter.toUpperCase());
      // A property's schema is the vendor's again.
      const inner = camel === 'properties' && typeof item === 'object' && item !== null;
      if (inner && !isOpaque) {
        return [camel, Object.fromEntries(Object.entries(item).map(([key, one]) => [key, camelized(one)]))];
      }
      return [camel, camelized(item, isOpaque || opaque.has(camel))];
    }),
  );
}

/** The first problem in the vendor's words, and the field it names. */
export function problemIn(error: z.ZodError): { readonly field: string; readonly message: string } {
  const [issue] = error.issues;
  if (issue === undefined) return { field: '', message: 'Request contains an invalid argument.' };
  const field = issue.path.reduce<string>(
    (path, step) =>
      typeof step === 'number' ? `${path}[${step}]` : path === '' ? snake(step) : `${path}.${snake(step)}`,
    '',
  );
  if (issue.code === 'unrecognized_keys') {
    const at = field === '' ? '' : ` at '${field}'`;
    return {
      field,
      message: `Invalid JSON payload received. Unknown name "${issue.keys[0]}"${at}: Cannot find field.`,
    };
  }
  if (issue.code === 'invalid_type' || issue.code === 'invalid_value') {
    return { field, message: `Invalid value at '${field}': ${issue.message}` };
  }
  return { field, message: `* GenerateContentRequest.${field}: ${issue.message}\n` };
}

function snake(name: PropertyKey): string {
  return String(name).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
