import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';

const knownTypes: ReadonlySet<string> = new Set([
  'string',
  'number',
  'integer',
  'boolean',
  'array',
  'object',
  'null',
]);
/** 64-bit numbers, which Google's clients write as text. */
const counts: ReadonlySet<string> = new Set([
  'minItems',
  'maxItems',
  'minLength',
  'maxLength',
  'minProperties',
  'maxProperties',
]);

/** The JSON schema that says the same as Google's subset of OpenAPI: types in upper case, `nullable`, numbers as text. */
export function jsonSchemaOf(schema: JsonObject): JsonObject {
  const entries = Object.entries(schema).flatMap(([given, value]): [string, unknown][] => {
    const name = given.replaceAll(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
    if (name === 'propertyOrdering' || name === 'nullable' || value === null) return [];
    if (name === 'type') return typeof value === 'string' ? typeEntry(value) : [[name, value]];
    if (name === 'format') return value === 'enum' ? [] : [[name, value]];
    if (name === 'example') return [['examples', [value]]];
    if (name === 'items' && isJsonObject(value)) return [[name, jsonSchemaOf(value)]];
    if (/^(any|one|all)Of$/.test(name) && Array.isArray(value)) return [[name, value.map(schemaOrValue)]];
    if (name === 'properties' && isJsonObject(value)) return [[name, propertiesOf(value)]];
    if (counts.has(name) && typeof value === 'string') return [[name, Number(value)]];
    return [[given.startsWith('$') ? given : name, value]];
  });
  const converted: JsonObject = Object.fromEntries(entries);
  return schema['nullable'] === true ? withNull(converted) : converted;
}

function typeEntry(given: string): [string, unknown][] {
  const type = given.toLowerCase();
  return knownTypes.has(type) ? [['type', type]] : [];
}

function propertiesOf(properties: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(properties).map(([name, property]) => [name, schemaOrValue(property)]),
  );
}

function schemaOrValue(value: unknown): unknown {
  return isJsonObject(value) ? jsonSchemaOf(value) : value;
}

function withNull(schema: JsonObject): JsonObject {
  const { type, enum: values, anyOf } = schema;
  if (Array.isArray(anyOf)) return { ...schema, anyOf: [...(anyOf as unknown[]), { type: 'null' }] };
  return {
    ...schema,
    ...(typeof type === 'string' && { type: [type, 'null'] }),
    ...(Array.isArray(values) && { enum: [...(values as unknown[]), null] }),
  };
}
