import { refused } from '../../core/errors.ts';
import type { DecodedTurn } from '../../core/protocol.ts';
import type { AskedRequest, Message, Reasoning, ResponseFormat, Tool } from '../../core/turn.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { createFieldCheck } from '../shared/field-table.ts';
import {
  allWishes,
  askedReasoning,
  ifSet,
  limitsOf,
  parseBody,
  plainRequest,
  quoted,
  samplingOf,
} from '../shared/request.ts';
import {
  checkLeftOut,
  geminiTools,
  type LeftOutTool,
  leftOutNames,
  mustOffer,
  type OfferedTools,
  toolKind,
  toolOf,
} from '../shared/tools.ts';
import { decodeContents } from './decode-message.ts';
import { geminiFields } from './fields.ts';
import { jsonSchemaOf } from './openapi-schema.ts';
import {
  countTokensRequest,
  type FunctionDeclaration,
  type GenerateRequest,
  generateRequest,
  withCamelNames,
} from './schema.ts';

export interface GeminiOptions {
  readonly includeUsage: boolean;
  /** The client asked to see what the model thinks. */
  readonly showsThoughts: boolean;
}

type GenerationConfig = NonNullable<GenerateRequest['generationConfig']>;

export const choicesParam = 'generationConfig.candidateCount';

const checkFields = createFieldCheck(geminiFields);

/** The model and whether the answer is streamed are in the path. */
export function decodeGeminiRequest(
  model: string,
  isStream: boolean,
  given: unknown,
): DecodedTurn<GeminiOptions> {
  const body = withCamelNames(given);
  const asked = parseBody(generateRequest, body, '"contents"');
  const fields = checkFields(body as object);
  const { request, ignored } = decodeCommon(model, asked);
  const config = asked.generationConfig ?? {};
  const { candidateCount, temperature, seed, thinkingConfig } = config;
  return {
    request: {
      ...request,
      sampling: samplingOf({
        temperature,
        seed,
        top_p: config.topP,
        presence_penalty: config.presencePenalty,
        frequency_penalty: config.frequencyPenalty,
      }),
      limits: limitsOf(config.maxOutputTokens, config.stopSequences),
      responseFormat: formatOf(config),
      reasoning: reasoningOf(thinkingConfig),
      ...allWishes(fields.wishes, request.wishes ?? []),
    },
    isStream,
    ...ifSet('choices', candidateCount === 1 ? undefined : candidateCount),
    choicesParam,
    options: { includeUsage: true, showsThoughts: thinkingConfig?.includeThoughts === true },
    ignored: [...ignored, ...fields.ignored],
  };
}

/** The request of "Count tokens": contents alone, or the whole request they are part of. */
export function decodeCountTokensRequest(model: string, given: unknown): AskedRequest {
  const body = withCamelNames(given);
  const { generateContentRequest } = parseBody(countTokensRequest, body, '"contents"');
  const asked = parseBody(generateRequest, generateContentRequest ?? body, '"contents"');
  checkFields(asked);
  return decodeCommon(model, asked).request;
}

function decodeCommon(
  model: string,
  asked: GenerateRequest,
): { readonly request: AskedRequest; readonly ignored: readonly string[] } {
  const { tools, toolChoice, leftOut } = offeredTools(asked);
  const { messages, ignored, wishes } = decodeContents(asked.contents);
  return {
    request: {
      ...plainRequest(model),
      messages: [...systemMessage(asked.systemInstruction), ...messages],
      messagesParam: 'contents',
      tools,
      toolChoice,
      ...allWishes(wishes),
    },
    ignored: [...leftOutNames(leftOut), ...ignored],
  };
}

function systemMessage(given: GenerateRequest['systemInstruction']): Message[] {
  if (given === null || given === undefined) return [];
  const content = isJsonObject(given) && 'parts' in given ? given['parts'] : given;
  const parts = [content].flat() as (string | { readonly text: string })[];
  const texts = parts
    .map((part) => (typeof part === 'string' ? part : part.text))
    .filter((text) => text !== '');
  if (texts.length === 0) return [];
  return [{ role: 'system', parts: texts.map((text) => ({ type: 'text', text })) }];
}

function formatOf({
  responseMimeType,
  responseSchema,
  responseJsonSchema,
}: GenerationConfig): ResponseFormat {
  const type = responseMimeType || 'text/plain';
  const field = responseJsonSchema ? 'responseJsonSchema' : 'responseSchema';
  const param = `generationConfig.${field}`;
  const schema = responseJsonSchema ?? (responseSchema && jsonSchemaOf(responseSchema));
  switch (type) {
    case 'text/plain':
      if (schema) throw refused(param, 'needs the responseMimeType "application/json"');
      return { type: 'text' };
    case 'application/json':
      return schema ? { type: 'json-schema', schema, param } : { type: 'json' };
    default:
      throw refused(
        'generationConfig.responseMimeType',
        `the type ${quoted(type)} cannot be answered: use "text/plain" or "application/json"`,
      );
  }
}

function reasoningOf(thinking: GenerationConfig['thinkingConfig']): Reasoning {
  if (!thinking) return {};
  const { thinkingBudget: budget, thinkingLevel: level, includeThoughts } = thinking;
  const named = level && level !== 'THINKING_LEVEL_UNSPECIFIED' ? level.toLowerCase() : undefined;
  const effort = named ?? (budget === 0 ? 'none' : undefined);
  const isWanted = named !== undefined || includeThoughts === true || (budget ?? 0) !== 0;
  return { ...askedReasoning(effort, isWanted), ...ifSet('budgetTokens', budget || undefined) };
}

/** Throws AppError `invalid_request` for tools and choices that cannot be carried. */
function offeredTools({
  tools: asked,
  toolConfig,
}: Pick<GenerateRequest, 'tools' | 'toolConfig'>): OfferedTools {
  const tools: Tool[] = [];
  const leftOut: LeftOutTool[] = [];
  for (const [index, { functionDeclarations, ...others }] of (asked ?? []).entries()) {
    for (const declaration of functionDeclarations ?? []) tools.push(functionOf(declaration));
    for (const [type, value] of Object.entries(others)) {
      if (value === null || value === undefined) continue;
      const path = `tools.${index}.${type}`;
      const kind = toolKind(geminiTools, type);
      const row = kind && geminiTools[kind];
      if (row && 'isRefused' in row) throw refused(path, row.says);
      leftOut.push({ type, path, isUnknown: row === undefined });
    }
  }
  const { mode, allowedFunctionNames } = toolConfig?.functionCallingConfig ?? {};
  checkLeftOut(leftOut, tools.length, mode === 'NONE');
  return { ...chosenOf(mode, allowedFunctionNames ?? [], tools), leftOut };
}

function functionOf({ name, description, parameters, parametersJsonSchema }: FunctionDeclaration): Tool {
  return toolOf(name, description, parametersJsonSchema ?? (parameters && jsonSchemaOf(parameters)));
}

const config = 'toolConfig.functionCallingConfig';

function chosenOf(
  mode: string | null | undefined,
  allowed: readonly string[],
  tools: readonly Tool[],
): Pick<OfferedTools, 'tools' | 'toolChoice'> {
  if (mode === 'NONE') return { tools, toolChoice: { type: 'none' } };
  const names = new Set(allowed);
  for (const name of names) mustOffer(tools, name, `${config}.allowedFunctionNames`);
  const offered = names.size === 0 ? tools : tools.filter(({ name }) => names.has(name));
  if (mode !== 'ANY') return { tools: offered, toolChoice: { type: 'auto' } };
  const [only] = names;
  if (names.size === 1 && only !== undefined) return { tools, toolChoice: { type: 'tool', name: only } };
  if (tools.length === 0) throw refused(`${config}.mode`, `is ${quoted(mode)} but tools has no function`);
  return { tools: offered, toolChoice: { type: 'required' } };
}
