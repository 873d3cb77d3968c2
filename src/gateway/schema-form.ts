import { isJsonObject, type JsonObject } from '../lib/parse-json.ts';

const types = ['array', 'boolean', 'integer', 'null', 'number', 'object', 'string'];
/** JsonObject that hold a schema, a list of schemas, or schemas by name. */
export const singleSchemas = [
  'additionalItems',
  'additionalProperties',
  'contains',
  'else',
  'if',
  'not',
  'propertyNames',
  'then',
  'unevaluatedItems',
  'unevaluatedProperties',
];
export const listedSchemas = ['allOf', 'anyOf', 'oneOf', 'prefixItems'];
export const namedSchemas = ['$defs', 'definitions', 'dependentSchemas', 'patternProperties', 'properties'];

/**
 * What of a schema has not the form that JSON Schema gives it, in a few words. No answer could ever follow such a schema,
 * and the model would be blamed for it. JsonObject that are not known may hold anything.
 */
export function formFaultOf(schema: JsonObject): string | undefined {
  const waiting: unknown[] = [schema];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next === 'boolean') continue;
    if (!isJsonObject(next)) return `${shown(next)} stands where a schema has to be`;
    const fault = keywordFaultOf(next);
    if (fault !== undefined) return fault;
    for (const inner of innerSchemas(next)) waiting.push(inner);
  }
  return undefined;
}

function keywordFaultOf(schema: JsonObject): string | undefined {
  const has = (keyword: string) => Object.hasOwn(schema, keyword);
  const is = (keyword: string, what: string) =>
    `its ${JSON.stringify(keyword)} is ${shown(schema[keyword])}, and has to be ${what}`;
  if (has('type') && ![schema['type']].flat().every((type) => types.includes(type as string)))
    return is('type', `of ${types.join(', ')}`);
  if (has('required') && !isListOf(schema['required'], (name) => typeof name === 'string'))
    return is('required', 'a list of names');
  if (has('pattern') && typeof schema['pattern'] !== 'string') return is('pattern', 'a regular expression');
  if (has('$ref') && typeof schema['$ref'] !== 'string') return is('$ref', 'a reference');
  if (has('enum') && !Array.isArray(schema['enum'])) return is('enum', 'a list of values');
  for (const keyword of listedSchemas)
    if (has(keyword) && !Array.isArray(schema[keyword])) return is(keyword, 'a list of schemas');
  for (const keyword of namedSchemas)
    if (has(keyword) && !isJsonObject(schema[keyword])) return is(keyword, 'an object of schemas');
  return undefined;
}

function innerSchemas(schema: JsonObject): unknown[] {
  return [
    ...singleSchemas.filter((keyword) => Object.hasOwn(schema, keyword)).map((keyword) => schema[keyword]),
    ...listedSchemas.flatMap((keyword) => schema[keyword] ?? []),
    ...namedSchemas.flatMap((keyword) => Object.values(schema[keyword] ?? {})),
    // In older drafts a list, for one item each.
    ...(Object.hasOwn(schema, 'items') ? [schema['items']].flat() : []),
  ];
}

function isListOf(value: unknown, isOne: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isOne);
}

function shown(value: unknown): string {
  return JSON.stringify(value).slice(0, 100);
}
