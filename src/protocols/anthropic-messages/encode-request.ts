import type { Capabilities } from '../../core/capabilities.ts';
import type { TurnRequest } from '../../core/turn.ts';
import { oneObject, withFittingNames } from '../shared/tools.ts';
import { outputSchema } from './accepted-schema.ts';
import { factsOf } from './claude-models.ts';
import { type Block, type EncodedMessage, encodeMessages, markOf } from './encode-message.ts';
import { bindingBeta, type ThinkingConfig, thinkingConfig } from './thinking-config.ts';

/**
 * One streamed turn. `cachesPrompts`: marks are set where the client has set none. Also what `anthropic-beta` has to say of it, the
 * tools' own names by those that are sent, and what the model has a field for but not beside the others of this request.
 */
export function encodeRequest(asked: TurnRequest, native: Capabilities, cachesPrompts: boolean) {
  const spell = (name: string) => name.replace(/[^A-Za-z0-9_-]/g, '_');
  const { request, toolNames } = withFittingNames(asked, 128, spell);
  const { model, limits, toolChoice, wishes = [] } = request;
  const facts = factsOf(model);
  const { system, messages, called, ...history } = encodeMessages(request.messages, model);
  const tools = encodeTools(request, native, called);
  placeMarks({ tools, system, messages }, cachesPrompts);
  const maxTokens = limits.maxOutputTokens ?? facts.maxTokens;
  const config = thinkingConfig(request.reasoning, toolChoice, maxTokens, facts, history);
  const topK = wishes.find(({ ability }) => ability === 'topK' && native.has(ability));
  const settings = {
    ...sampling(request, native, config, facts.takesBothSampling),
    ...(!config.isOn && topK && { top_k: topK.value }),
  };
  const stop = limits.stopSequences?.filter((sequence) => sequence.trim() !== '') ?? [];
  const body = JSON.stringify({
    model,
    max_tokens: maxTokens,
    stream: true,
    ...(system.length > 0 && { system }),
    messages,
    ...(tools.length > 0 && { tools, tool_choice: encodeChoice(request, native) }),
    ...settings,
    ...(stop.length > 0 && { stop_sequences: stop }),
    thinking: config.thinking,
    output_config: outputConfig(request, native, config),
  });
  const isBound = config.thinking !== undefined && 'block_binding' in config.thinking;
  const { sampling: chosen, reasoning } = request;
  const leftOut = [
    ...(chosen.temperature === undefined || 'temperature' in settings ? [] : (['temperature'] as const)),
    ...(chosen.topP === undefined || 'top_p' in settings ? [] : (['topP'] as const)),
    ...(topK === undefined || 'top_k' in settings ? [] : (['topK'] as const)),
    ...(config.isOn || config.effort || [undefined, 'none'].includes(reasoning.effort)
      ? []
      : (['reasoningEffort'] as const)),
  ];
  return { body, toolNames, beta: isBound ? bindingBeta : undefined, leftOut };
}

/** Of calls in the history the tools have to be known, also where none is offered. */
function encodeTools(
  { tools }: TurnRequest,
  native: Capabilities,
  called: ReadonlySet<string>,
): (Markable & { readonly name: string })[] {
  if (tools.length === 0) return [...called].map((name) => ({ name, input_schema: { type: 'object' } }));
  return tools.map(({ name, description, parameters, isStrict, ...tool }) => ({
    name,
    description,
    input_schema: oneObject(parameters),
    ...(isStrict &&
      native.has('strictTools') && { strict: true, input_schema: outputSchema(oneObject(parameters)) }),
    ...markOf(tool),
  }));
}

function encodeChoice(
  { tools, toolChoice, parallelToolCalls }: TurnRequest,
  native: Capabilities,
): object | undefined {
  const single = parallelToolCalls ? {} : { disable_parallel_tool_use: true };
  if (toolChoice.type === 'none' || tools.length === 0) return { type: 'none' };
  if (toolChoice.type === 'auto' || !native.has('toolChoice')) {
    return parallelToolCalls ? undefined : { type: 'auto', ...single };
  }
  return toolChoice.type === 'required' ? { type: 'any', ...single } : { ...toolChoice, ...single };
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

/** Anthropic refuses a request with more. */
const mostMarks = 4;

export interface Markable {
  cache_control?: object;
}

interface MarkedRequest {
  readonly tools: readonly Markable[];
  readonly system: readonly Block[];
  readonly messages: readonly EncodedMessage[];
}

/**
 * Where the client has set no mark: behind the tools, the rules and the last two turns of the user, so that the next request finds what
 * this one has written. Of a client's own marks the last ones stay, and none lives longer than one before it: Anthropic refuses
 * that.
 */
function placeMarks({ tools, system, messages }: MarkedRequest, isAutomatic: boolean): void {
  const marked: Markable[] = [];
  const gather = (blocks: readonly Markable[]): void => {
    for (const block of blocks) if (block.cache_control !== undefined) marked.push(block);
  };
  gather(tools);
  gather(system);
  for (const { content } of messages) gather(content);
  if (marked.length === 0) {
    if (isAutomatic) markEnds({ tools, system, messages });
    return;
  }
  for (const block of marked.slice(0, -mostMarks)) delete block.cache_control;
  const kept = marked.slice(-mostMarks);
  const short = kept.findIndex(({ cache_control: mark }) => mark && !('ttl' in mark));
  const behindShort = short === -1 ? [] : kept.slice(short);
  for (const block of behindShort) block.cache_control = { type: 'ephemeral' };
}

function markEnds({ tools, system, messages }: MarkedRequest): void {
  markLast(tools);
  markLast(system);
  let turns = 0;
  for (let at = messages.length - 1; at >= 0 && turns < 2; at -= 1) {
    const { role, content = [] } = messages[at] ?? {};
    if (role !== 'user') continue;
    turns += 1;
    markLast(content);
  }
}

function markLast(blocks: readonly Markable[]): void {
  const last = blocks.at(-1);
  if (last) last.cache_control = { type: 'ephemeral' };
}
