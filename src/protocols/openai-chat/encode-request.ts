import type { Ability, Capabilities } from '../../core/capabilities.ts';
import type {
  ImagePart,
  Message,
  ResponseFormat,
  ToolChoice,
  ToolResultPart,
  TurnRequest,
} from '../../core/turn.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import type { ChatVariant } from './outbound.ts';
import { reasoningDetailsOf } from './reasoning-details.ts';

/** The JSON body of one streamed turn. A field that the server lacks is not sent: it may refuse the request for the field alone. */
export function encodeRequest(
  request: TurnRequest,
  { maxTokensField, lacksStreamOptions }: ChatVariant,
  native: Capabilities,
): string {
  const { sampling, limits, tools, reasoning } = request;
  const ifNative = <Value>(ability: Ability, value: Value) => (native.has(ability) ? value : undefined);
  return JSON.stringify({
    model: request.model,
    messages: encodeMessages(request.messages),
    stream: true,
    ...(lacksStreamOptions ? {} : { stream_options: { include_usage: true } }),
    ...(tools.length > 0 ? encodeTools(request, native) : {}),
    [maxTokensField]: ifNative('maxTokens', limits.maxOutputTokens),
    temperature: ifNative('temperature', sampling.temperature),
    top_p: ifNative('topP', sampling.topP),
    seed: ifNative('seed', sampling.seed),
    presence_penalty: ifNative('presencePenalty', sampling.presencePenalty),
    frequency_penalty: ifNative('frequencyPenalty', sampling.frequencyPenalty),
    reasoning_effort: ifNative('reasoningEffort', reasoning.effort),
    response_format: encodeFormat(request.responseFormat, native),
  });
}

function encodeTools({ tools, toolChoice, parallelToolCalls }: TurnRequest, native: Capabilities) {
  return {
    tools: tools.map(({ name, description, parameters }) => ({
      type: 'function',
      function: { name, description, parameters },
    })),
    tool_choice: native.has('toolChoice') ? encodeChoice(toolChoice) : undefined,
    parallel_tool_calls: parallelToolCalls || !native.has('parallelToolCalls') ? undefined : false,
  };
}

function encodeChoice(choice: ToolChoice) {
  switch (choice.type) {
    case 'auto':
      return undefined;
    case 'tool':
      return { type: 'function', function: { name: choice.name } };
    default:
      return choice.type;
  }
}

function encodeFormat(format: ResponseFormat, native: Capabilities) {
  switch (format.type) {
    case 'text':
      return undefined;
    case 'json':
      return native.has('jsonObject') ? { type: 'json_object' } : undefined;
    case 'json-schema':
      if (!native.has('jsonSchema')) return undefined;
      return {
        type: 'json_schema',
        json_schema: {
          name: 'answer',
          schema: format.schema,
          ...(isStrictSchema(format.schema) && { strict: true }),
        },
      };
  }
}

/**
 * Servers want the results of calls right behind them. Elsewhere a person may get a word in between. Ids of calls may come again in
 * later turns.
 */
function encodeMessages(messages: readonly Message[]): object[] {
  const results = Map.groupBy(
    messages.flatMap((message) => (message.role === 'tool' ? message.parts : [])),
    ({ callId }) => callId,
  );
  function encode(message: Message): object[] {
    switch (message.role) {
      case 'system':
        return [{ role: 'system', content: textOf(message.parts) }];
      case 'user':
        return [{ role: 'user', content: encodeInput(message.parts) }];
      case 'assistant': {
        const answered = message.parts.flatMap((part) => {
          const result = part.type === 'tool-call' ? results.get(part.id)?.shift() : undefined;
          return result ? [result] : [];
        });
        return [encodeAnswer(message.parts), ...encodeResults(answered)];
      }
      case 'tool':
        return encodeResults(message.parts.filter((part) => results.get(part.callId)?.includes(part)));
    }
  }
  return messages.flatMap(encode);
}

/** A message each, and their images follow in one of the user: a tool message has text alone. */
function encodeResults(results: readonly ToolResultPart[]): object[] {
  const images = results.flatMap(({ callId, images = [] }) =>
    images.length === 0 ? [] : [text(`What the call ${callId} showed:`), ...images.map(encodeImage)],
  );
  return [
    ...results.map((part) => ({ role: 'tool', tool_call_id: part.callId, content: part.text })),
    ...(images.length === 0 ? [] : [{ role: 'user', content: images }]),
  ];
}

type InputParts = Extract<Message, { role: 'user' }>['parts'];

function encodeInput(parts: InputParts) {
  if (parts.every((part) => part.type === 'text')) return textOf(parts);
  return parts.map((part) => (part.type === 'text' ? text(part.text) : encodeImage(part)));
}

/**
 * What the model thought is given back where it came from this protocol, with the vendor's proof. Arguments are JSON, also those of
 * a call that has none.
 */
function encodeAnswer(parts: Extract<Message, { role: 'assistant' }>['parts']) {
  const said = parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('');
  const calls = parts.flatMap((part) =>
    part.type === 'tool-call'
      ? [{ id: part.id, type: 'function', function: { name: part.name, arguments: part.arguments || '{}' } }]
      : [],
  );
  const details = parts
    .flatMap((part) => (part.type === 'reasoning' ? [reasoningDetailsOf(part.proof)] : []))
    .flatMap((given) => (Array.isArray(given) ? given : []));
  const proven = details.length === 0 ? {} : { reasoning_details: details };
  if (calls.length === 0) return { role: 'assistant', content: said, ...proven };
  return { role: 'assistant', content: said === '' ? null : said, ...proven, tool_calls: calls };
}

function encodeImage({ mediaType, data }: ImagePart) {
  return { type: 'image_url', image_url: { url: `data:${mediaType};base64,${data}` } };
}

function text(content: string) {
  return { type: 'text', text: content };
}

function textOf(parts: readonly { readonly text: string }[]): string {
  return parts.map((part) => part.text).join('\n\n');
}

/** What strict schemas may be written with. */
const keywords: ReadonlySet<string> = new Set([
  '$defs',
  '$ref',
  '$schema',
  'additionalProperties',
  'anyOf',
  'const',
  'description',
  'enum',
  'items',
  'properties',
  'required',
  'title',
  'type',
]);

/** Whether the upstream can promise that an answer follows the schema: then it takes `strict`, and refuses it otherwise. */
function isStrictSchema(schema: unknown): boolean {
  if (!isJsonObject(schema)) return false;
  if (Object.keys(schema).some((keyword) => !keywords.has(keyword))) return false;
  const { type, properties, required, items, anyOf, $defs } = schema;
  const inner = [
    ...Object.values(isJsonObject(properties) ? properties : {}),
    ...Object.values(isJsonObject($defs) ? $defs : {}),
    ...(Array.isArray(anyOf) ? anyOf : []),
    ...(items === undefined ? [] : [items]),
  ];
  const isObject = properties !== undefined || [type].flat().includes('object');
  return (!isObject || isClosed(schema, properties, required)) && inner.every(isStrictSchema);
}

/** Nothing may be added, and nothing left out. */
function isClosed(schema: object, properties: unknown, required: unknown): boolean {
  const names = Object.keys(isJsonObject(properties) ? properties : {});
  const given: readonly unknown[] = Array.isArray(required) ? required : [];
  return (
    'additionalProperties' in schema &&
    schema.additionalProperties === false &&
    names.every((name) => given.includes(name))
  );
}
