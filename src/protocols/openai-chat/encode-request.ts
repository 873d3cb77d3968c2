import { hash } from 'node:crypto';
import type { Ability, Capabilities } from '../../core/capabilities.ts';
import type { OutboundTurn } from '../../core/protocol.ts';
import type {
  AssistantPart,
  Cacheable,
  Message,
  Reasoning,
  TextPart,
  ToolResultPart,
  TurnRequest,
} from '../../core/turn.ts';
import type { JsonObject } from '../../lib/parse-json.ts';
import { resultsByCall, resultText } from '../shared/calls.ts';
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
import { askedEffort } from '../shared/reasoning.ts';
import type { ChatVariant } from './outbound.ts';
import {
  extraContentOf,
  reasoningContentOf,
  reasoningDetailsOf,
  unknownReasoning,
} from './reasoning-details.ts';

/** The JSON body of one streamed turn. A field that the server lacks is not sent: it may refuse the request for the field alone. */
export function encodeRequest(
  { request, cacheKey, fillsReasoning = false }: OutboundTurn,
  variant: ChatVariant,
  native: Capabilities,
): string {
  const { sampling, limits, tools, reasoning, wishes = [] } = request;
  const ifNative = <Value>(ability: Ability, value: Value) => (native.has(ability) ? value : undefined);
  return JSON.stringify({
    model: request.model,
    messages: new MessageEncoder(request.model, variant, native, fillsReasoning).encode(
      withJsonRule(request, native),
    ),
    stream: true,
    ...(variant.lacksStreamOptions ? {} : { stream_options: { include_usage: true } }),
    ...(tools.length > 0 ? encodeTools(request, native) : {}),
    [variant.maxTokensField]: ifNative('maxTokens', limits.maxOutputTokens),
    temperature: ifNative('temperature', sampling.temperature),
    top_p: ifNative('topP', sampling.topP),
    seed: ifNative('seed', sampling.seed),
    presence_penalty: ifNative('presencePenalty', sampling.presencePenalty),
    frequency_penalty: ifNative('frequencyPenalty', sampling.frequencyPenalty),
    ...ifNative('reasoningEffort', encodeEffort(request.model, reasoning, variant)),
    response_format: encodeFormat(request.responseFormat, native, (schema, isStrict) => ({
      json_schema: { name: 'answer', schema, ...(isStrict && { strict: true }) },
    })),
    top_k: ifNative('topK', wishes.find(({ ability }) => ability === 'topK')?.value),
    prompt_cache_key: ifNative('openai.prompt_cache_key', cacheKey),
    ...Object.fromEntries(wishes.flatMap((wish) => encodeWish(wish, native))),
  });
}

function encodeEffort(model: string, reasoning: Reasoning, variant: ChatVariant): JsonObject {
  const asked = askedEffort(reasoning);
  const own = asked === undefined ? undefined : variant.encodeEffort?.(model, asked);
  return own ?? { reasoning_effort: openaiEffort(model, reasoning) };
}

function encodeTools(request: TurnRequest, native: Capabilities) {
  return {
    tools: request.tools.map(({ name, description, isStrict, ...tool }) => {
      const parameters = acceptedParameters(tool.parameters);
      const strict = isStrict && native.has('strictTools') && isStrictSchema(parameters) ? true : undefined;
      return { type: 'function', function: { name, description, parameters, strict } };
    }),
    ...encodeToolUse(request, native, (name) => ({ function: { name } })),
  };
}

class MessageEncoder {
  readonly #markField: ChatVariant['cacheMarkField'];
  readonly #native: Capabilities;
  readonly #model: string;
  readonly #takesLateRules: boolean;
  readonly #callIds: ChatVariant['callIds'];
  #fillsReasoning: boolean;

  constructor(
    model: string,
    { cacheMarkField, wantsReasoning = false, takesLateRules = false, callIds }: ChatVariant,
    native: Capabilities,
    fillsReasoning: boolean,
  ) {
    this.#model = model;
    this.#markField = cacheMarkField;
    this.#native = native;
    this.#takesLateRules = takesLateRules;
    this.#callIds = callIds;
    this.#fillsReasoning = fillsReasoning || wantsReasoning;
  }

  /** Servers want the results of calls right behind them. Elsewhere a person may get a word in between. */
  encode(messages: readonly Message[]): object[] {
    // A model that gave it once may want it of every answer.
    this.#fillsReasoning ||= messages.some(
      (message) => message.role === 'assistant' && this.#reasoningIn(message.parts) !== undefined,
    );
    const results = resultsByCall(messages);
    const placed = this.#takesLateRules ? messages : withRulesInFront(messages);
    return placed.flatMap((message) => this.#message(message, results));
  }

  #message(message: Message, results: ReadonlyMap<string, ToolResultPart[]>): object[] {
    switch (message.role) {
      case 'system':
        return [{ role: 'system', content: this.#content(message.parts) }];
      case 'user':
        return [{ role: 'user', content: this.#content(message.parts) }];
      case 'assistant': {
        const answered = message.parts.flatMap((part) => {
          const result = part.type === 'tool-call' ? results.get(part.id)?.shift() : undefined;
          return result ? [result] : [];
        });
        return [this.#answer(message.parts), ...this.#results(answered)];
      }
      case 'tool':
        return this.#results(message.parts.filter((part) => results.get(part.callId)?.includes(part)));
    }
  }

  /** The last one holds all of the message's. */
  #reasoningIn(parts: readonly AssistantPart[]): string | undefined {
    return parts
      .map((part) => (part.type === 'reasoning' ? reasoningContentOf(this.#model, part.proof) : undefined))
      .findLast((content) => content !== undefined);
  }

  /** A message each, and their images and documents follow in one of the user: a tool message has text alone. */
  #results(results: readonly ToolResultPart[]): object[] {
    const shown = results.flatMap(({ callId, images = [], documents = [], ...result }): InputPart[] => {
      const parts = [...images, ...documents];
      const last = parts.at(-1);
      if (last === undefined) return [];
      return [
        textPart(`What the call ${this.#idOf(callId)} showed:`),
        ...parts.with(-1, markedAs(result, last)),
      ];
    });
    return [
      ...results.map(({ callId, images = [], documents = [], ...result }) => {
        const text = textPart(resultText(result));
        const isWhole = images.length + documents.length === 0;
        return {
          role: 'tool',
          tool_call_id: this.#idOf(callId),
          content: this.#content([isWhole ? markedAs(result, text) : text]),
        };
      }),
      ...(shown.length === 0 ? [] : [{ role: 'user', content: this.#content(shown) }]),
    ];
  }

  /** A call of another vendor's model has another kind of id. */
  #idOf(callId: string): string {
    return this.#callIds?.test(callId) === false ? hash('sha256', callId).slice(0, 9) : callId;
  }

  /** As a list of parts only where it has to be one: some servers take text alone. */
  #content(parts: readonly InputPart[], separator = '\n\n'): string | object[] {
    const isText = (part: InputPart): part is TextPart =>
      part.type === 'text' && this.#mark(part) === undefined;
    return parts.every(isText)
      ? parts.map(({ text }) => text).join(separator)
      : parts.map((part) => ({ ...encodePart(part), ...this.#mark(part) }));
  }

  /**
   * What the model thought is given back where it came from this protocol, with the vendor's proof. Arguments are JSON, also those of
   * a call that has none.
   */
  #answer(parts: readonly AssistantPart[]): object {
    const said = parts.map((part) =>
      part.type === 'refusal' && !this.#native.has('refusals') ? textPart(part.text) : part,
    );
    const content = this.#content(textsAroundCalls(said), '');
    const refusal = parts.flatMap((part) => (part.type === 'refusal' ? [part.text] : [])).join('');
    const proofs = parts.flatMap((part) => (part.type === 'reasoning' && part.proof ? [part.proof] : []));
    const extras = new Map(proofs.flatMap(extraContentOf));
    const calls = parts.flatMap((part) =>
      part.type === 'tool-call'
        ? [
            {
              id: this.#idOf(part.id),
              type: 'function',
              function: { name: part.name, arguments: part.arguments || '{}' },
              extra_content: extras.get(part.id),
            },
          ]
        : [],
    );
    const details = proofs.flatMap(reasoningDetailsOf);
    const reasoning = this.#reasoningIn(parts) ?? (this.#fillsReasoning ? unknownReasoning : undefined);
    const isRefused = refusal !== '' && this.#native.has('refusals');
    return {
      role: 'assistant',
      content: content === '' && (calls.length > 0 || isRefused) ? null : content,
      ...(isRefused && { refusal }),
      ...(details.length > 0 && { reasoning_details: details }),
      ...(reasoning !== undefined && { reasoning_content: reasoning }),
      ...(calls.length > 0 && { tool_calls: calls }),
    };
  }

  /** Vendors that resell other models have Anthropic's word for it, and its two lifetimes. An empty text may have none. */
  #mark(part: Cacheable & { readonly text?: string }): object | undefined {
    const { cacheBreakpoint: mark, text } = part;
    if (!mark || text === '' || !this.#native.has('cacheBreakpoints')) return undefined;
    const seconds = mark.ttlSeconds ?? 0;
    return this.#markField === 'cache_control'
      ? { cache_control: { type: 'ephemeral', ...(seconds > 300 && { ttl: '1h' }) } }
      : { prompt_cache_breakpoint: { mode: 'explicit', ...(seconds > 3_600 && { ttl: '12h' }) } };
  }
}

/** One message of the system, the first; what is said later is said by the user, since it belongs where it stands. */
function withRulesInFront(messages: readonly Message[]): readonly Message[] {
  const isRule = ({ role }: Message) => role === 'system';
  const behind = messages.findIndex((message) => !isRule(message));
  const rules = behind === -1 ? messages : messages.slice(0, behind);
  const others = messages.slice(rules.length);
  if (rules.length < 2 && !others.some(isRule)) return messages;
  const parts = rules.flatMap((message) => (message.role === 'system' ? message.parts : []));
  return [
    ...(rules.length > 0 ? [{ role: 'system' as const, parts }] : []),
    ...others.map((message) =>
      message.role === 'system' ? { role: 'user' as const, parts: message.parts } : message,
    ),
  ];
}

/** The texts of an answer. What was said before a call and after it are two texts, whose words must not run together. */
function textsAroundCalls(parts: readonly AssistantPart[]): TextPart[] {
  let before = '';
  let isAfterCall = false;
  const texts: TextPart[] = [];
  for (const part of parts) {
    if (part.type === 'tool-call') isAfterCall = before !== '';
    if (part.type !== 'text') continue;
    const runsOn = isAfterCall && /\S$/.test(before) && /^\S/.test(part.text);
    texts.push(runsOn ? { ...part, text: `\n\n${part.text}` } : part);
    if (part.text === '') continue;
    before = part.text;
    isAfterCall = false;
  }
  return texts;
}

type InputPart = Extract<Message, { role: 'user' }>['parts'][number];

function encodePart(part: InputPart): object {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text };
    case 'image':
      return { type: 'image_url', image_url: { url: dataUrl(part) } };
    case 'document':
      return { type: 'file', file: { filename: part.name ?? 'document.pdf', file_data: dataUrl(part) } };
  }
}

/** A part with the mark of the whole that it ends. */
function markedAs<Part extends InputPart>({ cacheBreakpoint }: Cacheable, part: Part): Part {
  return cacheBreakpoint ? { ...part, cacheBreakpoint } : part;
}

function textPart(text: string): TextPart {
  return { type: 'text', text };
}
