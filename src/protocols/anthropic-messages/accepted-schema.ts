import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';

/** What schemas of Anthropic's structured outputs may be written with. Source: its documentation, "JSON schema limitations". */
const keywords: ReadonlySet<string> = new Set([
  '$defs',
  '$ref',
  'additionalProperties',
  'allOf',
  'anyOf',
  'const',
  'default',
  'definitions',
  'description',
  'enum',
  'format',
  'items',
  'minItems',
  'properties',
  'required',
  'title',
  'type',
]);
const formats = ['date-time', 'time', 'date', 'duration', 'email', 'hostname', 'uri', 'ipv4', 'ipv6', 'uuid'];
const ofSchemas = ['properties', '$defs', 'definitions'];

/**
 * A schema as Anthropic takes it. Objects that do not say are closed: what follows the narrower schema follows the given one, too.
 * Bounds that Anthropic does not enforce go to the model in the description, as its own client libraries do.
 */
export function outputSchema(schema: JsonObject): JsonObject {
  const kept: Record<string, unknown> = {};
  const described: string[] = [];
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword === '$schema') continue;
    if (keyword === 'oneOf') kept['anyOf'] = innerOf(value);
    else if (isTaken(keyword, value)) kept[keyword] = innerIn(keyword, value);
    else described.push(`${keyword}: ${JSON.stringify(value)}`);
  }
  if (described.length > 0) {
    const { description } = schema;
    const before = typeof description === 'string' ? `${description}\n` : '';
    kept['description'] = `${before}(${described.join(', ')})`;
  }
  const isObject = kept['properties'] !== undefined || [kept['type']].flat().includes('object');
  return isObject ? { additionalProperties: false, ...kept } : kept;
}

function isTaken(keyword: string, value: unknown): boolean {
  if (keyword === 'format') return typeof value === 'string' && formats.includes(value);
  if (keyword === 'minItems') return value === 0 || value === 1;
  return keywords.has(keyword);
}

function innerIn(keyword: string, value: unknown): unknown {
  if (ofSchemas.includes(keyword) && isJsonObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, innerOf(inner)]));
  }
  return ['items', 'anyOf', 'allOf', 'additionalProperties'].includes(keyword) ? innerOf(value) : value;
}

function innerOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(innerOf);
  return isJsonObject(value) ? outputSchema(value) : value;
}
