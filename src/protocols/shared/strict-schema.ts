import { isJsonObject } from '../../lib/parse-json.ts';

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
