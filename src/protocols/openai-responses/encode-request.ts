import { hash } from 'node:crypto';
import type { Ability, Capabilities } from '../../core/capabilities.ts';
import type { OutboundTurn } from '../../core/protocol.ts';
import type { AssistantPart, Cacheable, Message, ToolResultPart, TurnRequest } from '../../core/turn.ts';
import type { JsonObject } from '../../lib/parse-json.ts';
import { resultText } from '../shared/calls.ts';
import { dataUrl } from '../shared/files.ts';
import { openaiEffort } from '../shared/openai-models.ts';
import {
  acceptedParameters,
  encodeFormat,
  encodeToolUse,
  encodeWish,
  isStrictSchema,
  withJsonRule,
} from '../shared/openai-request.ts';
import { reasoningBefore } from './reasoning-items.ts';

/** OpenAI refuses a lower limit. */
export const leastOutputTokens = 16;

/**
 * The JSON body of one streamed turn. Nothing is stored at the upstream: the whole conversation travels each time, and the model's
 * reasoning in encrypted form with it.
 */
export function encodeRequest({ request, cacheKey }: OutboundTurn, native: Capabilities): string {
  const { sampling, limits, tools, reasoning, wishes = [] } = request;
  const ifNative = <Value>(ability: Ability, value: Value) => (native.has(ability) ? value : undefined);
  const isReasoner = native.has('reasoningEffort');
  const effort = isReasoner ? openaiEffort(request.model, reasoning) : undefined;
  const summary = isReasoner && reasoning.isAsked ? 'auto' : undefined;
  const most = ifNative('maxTokens', limits.maxOutputTokens);
  const items = new ItemEncoder(request.model, native);
  // It has a place in `text`.
  const others = wishes.filter(({ ability }) => ability !== 'openai.verbosity');
  return JSON.stringify({
    model: request.model,
    input: withJsonRule(request, native).flatMap((message) => items.encode(message)),
    stream: true,
    store: false,
    // Other models refuse a request for it.
    include: isReasoner ? ['reasoning.encrypted_content'] : undefined,
    ...(tools.length > 0 ? encodeTools(request, native) : {}),
    max_output_tokens: most && Math.max(most, leastOutputTokens),
    temperature: ifNative('temperature', sampling.temperature),
    top_p: ifNative('topP', sampling.topP),
    reasoning: effort === undefined && summary === undefined ? undefined : { effort, summary },
    text: encodeText(request, native),
    prompt_cache_key: ifNative('openai.prompt_cache_key', cacheKey),
    ...Object.fromEntries(others.flatMap((wish) => encodeWish(wish, native))),
  });
}

function encodeText({ responseFormat, wishes = [] }: TurnRequest, native: Capabilities) {
  const format = encodeFormat(responseFormat, native, (schema, strict) => ({
    name: 'answer',
    schema,
    strict,
  }));
  const verbosity = native.has('openai.verbosity')
    ? wishes.find(({ ability }) => ability === 'openai.verbosity')?.value
    : undefined;
  return format === undefined && verbosity === undefined ? undefined : { format, verbosity };
}

/** A tool is strict unless the request says that it is not. */
function encodeTools(request: TurnRequest, native: Capabilities) {
  return {
    tools: request.tools.map(({ name, description, isStrict, ...tool }) => {
      const parameters = acceptedParameters(tool.parameters);
      const strict = isStrict === true && native.has('strictTools') && isStrictSchema(parameters);
      return { type: 'function', name, description, parameters, strict };
    }),
    ...encodeToolUse(request, native, (name) => ({ name })),
  };
}

interface Marked {
  readonly cacheBreakpoint?: Cacheable['cacheBreakpoint'] | undefined;
  readonly text?: string;
}
type InputPart = Extract<Message, { role: 'user' }>['parts'][number];

class ItemEncoder {
  readonly #model: string;
  readonly #native: Capabilities;
  readonly #calls = new Set<string>();

  constructor(model: string, native: Capabilities) {
    this.#model = model;
    this.#native = native;
  }

  encode(message: Message): object[] {
    switch (message.role) {
      case 'system':
      case 'user':
        return [
          { type: 'message', role: message.role, content: message.parts.map((part) => this.#part(part)) },
        ];
      case 'assistant':
        return this.#answer(message.parts);
      case 'tool':
        return message.parts.map((result) => this.#result(result));
    }
  }

  /** Text, reasoning and calls are items of their own, in the order in which the model made them. */
  #answer(parts: readonly AssistantPart[]): object[] {
    const before = reasoningBefore(this.#model, parts);
    return parts.flatMap((part): object[] => {
      const items: JsonObject[] = before.get(part) ?? [];
      switch (part.type) {
        case 'reasoning':
          return [];
        case 'tool-call': {
          const { id, name, arguments: given } = part;
          this.#calls.add(id);
          return [...items, { type: 'function_call', call_id: sentId(id), name, arguments: given || '{}' }];
        }
        default:
          return [...items, { type: 'message', role: 'assistant', content: [this.#said(part)] }];
      }
    });
  }

  #said(part: Extract<AssistantPart, { type: 'text' | 'refusal' }>): object {
    return part.type === 'refusal' && this.#native.has('refusals')
      ? { type: 'refusal', refusal: part.text }
      : { type: 'output_text', text: part.text };
  }

  /** As text where it is nothing else. A result whose call is not in the history any more would be refused. */
  #result({ callId, images = [], documents = [], cacheBreakpoint, ...result }: ToolResultPart): object {
    const text = resultText(result);
    const shown: InputPart[] = [...images, ...documents];
    const said: InputPart[] = text === '' && shown.length > 0 ? [] : [{ type: 'text', text }];
    const parts = [...said, ...shown].map((part) => this.#part(part));
    if (!this.#calls.has(callId)) {
      const name = { type: 'input_text', text: `What the call ${callId} returned:` };
      return { type: 'message', role: 'user', content: [name, ...parts] };
    }
    const mark = this.#mark({ cacheBreakpoint });
    const isPlain = shown.length === 0 && mark === undefined;
    const output = isPlain ? text : parts.with(-1, { ...parts.at(-1), ...mark });
    return { type: 'function_call_output', call_id: sentId(callId), output };
  }

  #part(part: InputPart): object {
    return { ...encodePart(part), ...this.#mark(part) };
  }

  /** An empty text may have none. */
  #mark({ cacheBreakpoint: mark, text }: Marked): object | undefined {
    if (!mark || text === '' || !this.#native.has('cacheBreakpoints')) return undefined;
    const isLong = (mark.ttlSeconds ?? 0) > 3_600;
    return { prompt_cache_breakpoint: { mode: 'explicit', ...(isLong && { ttl: '12h' }) } };
  }
}

/** OpenAI refuses longer ones; some clients and gateways make them. */
function sentId(callId: string): string {
  return callId.length > 64 ? hash('sha256', callId) : callId;
}

function encodePart(part: InputPart): object {
  switch (part.type) {
    case 'text':
      return { type: 'input_text', text: part.text };
    case 'image':
      return { type: 'input_image', image_url: dataUrl(part), detail: 'auto' };
    case 'document':
      return { type: 'input_file', filename: part.name ?? 'document.pdf', file_data: dataUrl(part) };
  }
}
