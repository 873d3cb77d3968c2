import type { Capabilities } from '../../core/capabilities.ts';
import type { Message, ResponseFormat, TurnRequest, Wish } from '../../core/turn.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { oneObject } from './tools.ts';

// What requests in both of OpenAI's dialects say alike: they differ in how deep it is nested.

/** A wish for a field that both dialects have under one name. */
export function encodeWish({ ability, value }: Wish, native: Capabilities): [string, unknown][] {
  const [, name] = /^openai\.(.+)$/.exec(ability) ?? [];
  return name === undefined || !native.has(ability) ? [] : [[name, value]];
}

/** `named`: how the dialect names one function. */
export function encodeToolUse(
  { toolChoice: choice, parallelToolCalls }: TurnRequest,
  native: Capabilities,
  named: (name: string) => object,
) {
  const chosen = choice.type === 'tool' ? { type: 'function', ...named(choice.name) } : choice.type;
  return {
    tool_choice: choice.type === 'auto' || !native.has('toolChoice') ? undefined : chosen,
    parallel_tool_calls: parallelToolCalls || !native.has('parallelToolCalls') ? undefined : false,
  };
}

/** `described`: how the dialect gives a schema. */
export function encodeFormat(
  format: ResponseFormat,
  native: Capabilities,
  described: (schema: JsonObject, isStrict: boolean) => object,
): object | undefined {
  if (format.type === 'json' && native.has('jsonObject')) return { type: 'json_object' };
  if (format.type !== 'json-schema' || !native.has('jsonSchema')) return undefined;
  return { type: 'json_schema', ...described(format.schema, isStrictSchema(format.schema)) };
}

/** The messages, which have to speak of JSON where the answer has to be JSON; in other dialects they need not. */
export function withJsonRule(
  { responseFormat, messages }: TurnRequest,
  native: Capabilities,
): readonly Message[] {
  if (responseFormat.type !== 'json' || !native.has('jsonObject')) return messages;
  const texts = messages.flatMap(({ parts }) => parts.map((part) => ('text' in part ? part.text : '')));
  if (texts.some((text) => /json/i.test(text))) return messages;
  const rule = { type: 'text', text: 'Answer with one JSON object.' } as const;
  const [first, ...others] = messages;
  // Some servers take no further message with rules.
  return first?.role === 'system'
    ? [{ role: 'system', parts: [...first.parts, rule] }, ...others]
    : [{ role: 'system', parts: [rule] }, ...messages];
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

/** Whether the upstream can promise that an answer or a call follows the schema: then it takes `strict`, and refuses it otherwise. */
export function isStrictSchema(schema: unknown): boolean {
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

/** The parameters of a tool as OpenAI takes them, and vendors that check as it does: an object with properties, and arrays with items. */
export function acceptedParameters(parameters: JsonObject): JsonObject {
  const whole = oneObject(parameters);
  return withItems(whole['properties'] === undefined ? { ...whole, properties: {} } : whole);
}

const ofNames: ReadonlySet<string> = new Set(['properties', '$defs', 'definitions', 'patternProperties']);
const ofSchemas: ReadonlySet<string> = new Set(['items', 'additionalProperties', 'anyOf', 'oneOf', 'allOf']);

function withItems(schema: JsonObject): JsonObject {
  const whole: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (ofNames.has(keyword) && isJsonObject(value)) {
      whole[keyword] = Object.fromEntries(
        Object.entries(value).map(([name, inner]) => [name, itemsIn(inner)]),
      );
    } else {
      const isInner = ofSchemas.has(keyword);
      whole[keyword] =
        isInner && Array.isArray(value) ? value.map(itemsIn) : isInner ? itemsIn(value) : value;
    }
  }
  const isArray = [schema['type']].flat().includes('array');
  const isOpen = schema['items'] === undefined && schema['prefixItems'] === undefined;
  return isArray && isOpen ? { ...whole, items: {} } : whole;
}

function itemsIn(value: unknown): unknown {
  return isJsonObject(value) ? withItems(value) : value;
}
