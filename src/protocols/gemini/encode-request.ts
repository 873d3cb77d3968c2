import type { Capabilities } from '../../core/capabilities.ts';
import type { ResponseFormat, Tool, ToolChoice, TurnRequest } from '../../core/turn.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { withFittingNames } from '../shared/tools.ts';
import { acceptedSchema } from './accepted-schema.ts';
import { encodeContents } from './encode-contents.ts';
import { encodeThinking, generationOf, mostOutputTokens, thinkingOf } from './gemini-models.ts';

/** The JSON body of one turn, and the tools' own names by those that are sent; the model is in the path. */
export function encodeRequest(asked: TurnRequest, native: Capabilities, mostTokens?: number) {
  const spell = (name: string) => name.replace(/[^\w.:-]/g, '_').replace(/^(?![A-Za-z_])/, '_');
  const { request, toolNames } = withFittingNames(asked, 64, spell);
  const body = JSON.stringify({
    ...encodeContents(request.messages, request.model),
    ...encodeTools(request),
    generationConfig: encodeConfig(request, native, mostTokens),
  });
  return { body, toolNames };
}

function encodeConfig(request: TurnRequest, native: Capabilities, mostTokens?: number): object {
  const { sampling, reasoning, model, wishes = [] } = request;
  const outputTokens = outputTokensOf(request);
  return {
    maxOutputTokens: outputTokens && Math.min(outputTokens, mostTokens ?? outputTokens),
    temperature: sampling.temperature,
    topP: sampling.topP,
    topK: native.has('topK') ? wishes.find(({ ability }) => ability === 'topK')?.value : undefined,
    // Of 32 bits.
    seed: sampling.seed === undefined ? undefined : sampling.seed | 0,
    ...encodeFormat(request),
    thinkingConfig: encodeThinking(model, reasoning),
  };
}

/** Thoughts count among them. A client that did not ask for any means the visible answer, whose limit the gateway keeps. */
export function outputTokensOf({
  limits,
  reasoning,
  model,
}: Pick<TurnRequest, 'limits' | 'reasoning' | 'model'>): number | undefined {
  const { maxOutputTokens: asked } = limits;
  const thinking = thinkingOf(model);
  if (asked === undefined || !thinking) return asked;
  const thoughts = thinking.by === 'budget' ? thinking.most : mostOutputTokens / 2;
  return Math.min(mostOutputTokens, reasoning.isAsked ? asked : asked + thoughts);
}

function encodeFormat({ responseFormat: format, tools, model }: TurnRequest): object {
  const mayAsk = generationOf(model) >= 3 || tools.length === 0;
  if (format.type === 'text' || !mayAsk) return {};
  return { responseMimeType: 'application/json', ...schemaOf(format) };
}

function schemaOf(format: ResponseFormat): object {
  return format.type === 'json-schema' ? { responseJsonSchema: acceptedSchema(format.schema) } : {};
}

function encodeTools({ tools, toolChoice }: TurnRequest): object {
  if (tools.length === 0) return {};
  const functionCallingConfig = encodeChoice(toolChoice);
  return {
    tools: [{ functionDeclarations: tools.map(encodeTool) }],
    ...(functionCallingConfig && { toolConfig: { functionCallingConfig } }),
  };
}

function encodeTool({ name, description, parameters }: Tool): object {
  const schema = acceptedSchema(parameters);
  return { name, description, parametersJsonSchema: takesNothing(schema) ? undefined : schema };
}

/** Gemini wants no schema for a function without parameters. */
function takesNothing({ properties = {}, additionalProperties = false, ...rest }: JsonObject): boolean {
  return (
    isJsonObject(properties) &&
    Object.keys(properties).length === 0 &&
    additionalProperties === false &&
    Object.keys(rest).every((name) => ['type', 'title', 'description', 'required'].includes(name))
  );
}

function encodeChoice(choice: ToolChoice): object | undefined {
  switch (choice.type) {
    case 'auto':
      return undefined;
    case 'none':
      return { mode: 'NONE' };
    case 'required':
      return { mode: 'ANY' };
    case 'tool':
      return { mode: 'ANY', allowedFunctionNames: [choice.name] };
  }
}
