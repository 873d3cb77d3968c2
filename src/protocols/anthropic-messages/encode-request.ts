import type { Capabilities } from '../../core/capabilities.ts';
import type { TurnRequest } from '../../core/turn.ts';
import { ToolNames } from '../shared/tool-names.ts';
import { inputSchema, outputSchema } from './accepted-schema.ts';
import { type Markable, placeMarks } from './cache-marks.ts';
import { factsOf } from './claude-models.ts';
import { encodeMessages, markOf } from './encode-message.ts';
import { bindingBeta, type ThinkingConfig, thinkingConfig } from './thinking-config.ts';

export interface EncodedRequest {
  readonly body: string;
  /** Of `anthropic-beta`, for what the body asks for. */
  readonly beta: string | undefined;
  /** The tools' own names by those that are sent. */
  readonly toolNames: ReadonlyMap<string, string>;
}

/** One streamed turn. `cachesPrompts`: marks are set where the client has set none. */
export function encodeRequest(
  request: TurnRequest,
  native: Capabilities,
  cachesPrompts: boolean,
): EncodedRequest {
  const { model, limits, toolChoice, wishes = [] } = request;
  const facts = factsOf(model);
  const names = new ToolNames(128, (name) => name.replace(/[^A-Za-z0-9_-]/g, '_'));
  const nameOf = (name: string) => names.sentFor(name);
  const { system, messages, called, ...history } = encodeMessages(request.messages, model, nameOf);
  const tools = encodeTools(request, native, nameOf, called);
  placeMarks({ tools, system, messages }, cachesPrompts);
  const maxTokens = limits.maxOutputTokens ?? facts.maxTokens;
  const config = thinkingConfig(request.reasoning, toolChoice, maxTokens, facts, history);
  const topK = config.isOn
    ? undefined
    : wishes.find(({ ability }) => ability === 'topK' && native.has(ability));
  const stop = limits.stopSequences?.filter((sequence) => sequence.trim() !== '') ?? [];
  const body = JSON.stringify({
    model,
    max_tokens: maxTokens,
    stream: true,
    ...(system.length > 0 && { system }),
    messages,
    ...(tools.length > 0 && { tools, tool_choice: encodeChoice(request, native, nameOf) }),
    ...sampling(request, native, config, facts.takesBothSampling),
    top_k: topK?.value,
    ...(stop.length > 0 && { stop_sequences: stop }),
    thinking: config.thinking,
    output_config: outputConfig(request, native, config),
  });
  const isBound = config.thinking !== undefined && 'block_binding' in config.thinking;
  return { body, toolNames: names.own, beta: isBound ? bindingBeta : undefined };
}

/** Of calls in the history the tools have to be known, also where none is offered. */
function encodeTools(
  { tools }: TurnRequest,
  native: Capabilities,
  nameOf: (name: string) => string,
  called: ReadonlySet<string>,
): (Markable & { readonly name: string })[] {
  if (tools.length === 0) return [...called].map((name) => ({ name, input_schema: { type: 'object' } }));
  return tools.map(({ name, description, parameters, isStrict, ...tool }) => ({
    name: nameOf(name),
    description,
    input_schema: inputSchema(parameters),
    ...(isStrict &&
      native.has('strictTools') && { strict: true, input_schema: outputSchema(inputSchema(parameters)) }),
    ...markOf(tool),
  }));
}

function encodeChoice(
  { tools, toolChoice, parallelToolCalls }: TurnRequest,
  native: Capabilities,
  nameOf: (name: string) => string,
): object | undefined {
  const single = parallelToolCalls ? {} : { disable_parallel_tool_use: true };
  if (toolChoice.type === 'none' || tools.length === 0) return { type: 'none' };
  if (toolChoice.type === 'auto' || !native.has('toolChoice')) {
    return parallelToolCalls ? undefined : { type: 'auto', ...single };
  }
  return toolChoice.type === 'required'
    ? { type: 'any', ...single }
    : { type: 'tool', name: nameOf(toolChoice.name), ...single };
}

/** With thinking the temperature is not to be chosen, and `top_p` hardly. */
function sampling(
  { sampling: { temperature, topP } }: TurnRequest,
  native: Capabilities,
  { isOn }: ThinkingConfig,
  takesBoth: boolean,
) {
  const isWarm = temperature !== undefined && native.has('temperature') && !isOn;
  const isCut = topP !== undefined && native.has('topP') && (!isOn || topP >= 0.95);
  return {
    // Other dialects go up to 2.
    ...(isWarm && { temperature: Math.min(temperature, 1) }),
    ...(isCut && (takesBoth || !isWarm) && { top_p: topP }),
  };
}

function outputConfig({ responseFormat }: TurnRequest, native: Capabilities, { effort }: ThinkingConfig) {
  const format =
    responseFormat.type === 'json-schema' && native.has('jsonSchema')
      ? { type: 'json_schema', schema: outputSchema(responseFormat.schema) }
      : undefined;
  return effort === undefined && format === undefined ? undefined : { effort, format };
}
