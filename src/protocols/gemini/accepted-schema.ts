import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';

/** Taken as they are. Source: the API's reference, `responseJsonSchema`. */
const plainKeywords = [
  '$id',
  '$anchor',
  '$ref',
  'type',
  'title',
  'description',
  'minItems',
  'maxItems',
  'minimum',
  'maximum',
  'required',
  'propertyOrdering',
] as const;
const formats: ReadonlySet<unknown> = new Set([
  'date-time',
  'date',
  'time',
  'int32',
  'int64',
  'float',
  'double',
]);

/**
 * A client's JSON schema in the keywords that Gemini takes: it refuses a request for others. What has another form there is mapped,
 * and what has none goes to the model in the description.
 */
export function acceptedSchema(schema: unknown): JsonObject {
  if (!isJsonObject(schema)) return {};
  const { $ref } = schema;
  // Beside a reference nothing but names may stand.
  if (typeof $ref === 'string') {
    return { $ref: $ref.replace(/^#\/definitions\//, '#/$defs/'), ...definitionsOf(schema) };
  }
  const { allOf, ...own } = schema;
  if (Array.isArray(allOf) && allOf.every(isJsonObject)) {
    const [only] = allOf;
    const holdsMore = Object.keys(own).some((name) => !annotations.has(name));
    if (allOf.length === 1 && only && !holdsMore) return acceptedSchema({ ...own, ...only });
    return acceptedSchema(allOf.reduce(combined, own));
  }
  const accepted = { ...plainOf(schema), ...valuesOf(schema), ...innerOf(schema) };
  return { ...accepted, ...definitionsOf(schema), ...descriptionOf(schema, accepted) };
}

/** Rules about one value, short enough to be read. */
const describedKeywords = [
  'const',
  'enum',
  'format',
  'pattern',
  'minLength',
  'maxLength',
  'multipleOf',
  'minProperties',
  'maxProperties',
  'uniqueItems',
  'default',
] as const;

function descriptionOf(schema: JsonObject, accepted: JsonObject): JsonObject {
  const { description } = schema;
  const lost = describedKeywords.filter((name) => schema[name] !== undefined && accepted[name] === undefined);
  const described = lost.filter((name) => !(name === 'const' && accepted['enum'] !== undefined));
  if (described.length === 0) return {};
  const rules = described.map((name) => `${name}: ${JSON.stringify(schema[name])}`).join(', ');
  return { description: typeof description === 'string' ? `${description}\n(${rules})` : `(${rules})` };
}

const annotations: ReadonlySet<string> = new Set(['title', 'description', 'default', '$schema', '$defs']);

/** Both schemas in one, as far as they are of objects. References cannot be combined. */
function combined(left: JsonObject, { $ref, ...right }: JsonObject): JsonObject {
  const objects = (name: string) => [left[name], right[name]].filter(isJsonObject);
  const lists = (name: string) => [left[name], right[name]].filter(Array.isArray).flat();
  const properties = Object.assign({}, ...objects('properties'));
  const required = [...new Set(lists('required'))];
  return {
    ...left,
    ...right,
    ...(Object.keys(properties).length > 0 && { properties }),
    ...(required.length > 0 && { required }),
  };
}

function plainOf(schema: JsonObject): JsonObject {
  const kept = plainKeywords.flatMap((name) => (schema[name] === undefined ? [] : [[name, schema[name]]]));
  const { format, type, nullable, exclusiveMinimum, exclusiveMaximum } = schema;
  const step = type === 'integer' ? 1 : 0;
  return {
    // A border that is not part of the range: exact for whole numbers, and the nearest there is for others.
    ...(typeof exclusiveMinimum === 'number' && { minimum: exclusiveMinimum + step }),
    ...(typeof exclusiveMaximum === 'number' && { maximum: exclusiveMaximum - step }),
    ...Object.fromEntries(kept),
    ...(formats.has(format) && { format }),
    ...(nullable === true && typeof type === 'string' && { type: [type, 'null'] }),
  };
}

/** Values may be numbers and texts, but no empty ones. */
function valuesOf({ enum: listed, const: only }: JsonObject): JsonObject {
  const values = only === undefined ? listed : [only];
  if (!Array.isArray(values)) return {};
  const taken = values.filter(
    (value) => (typeof value === 'string' && value !== '') || typeof value === 'number',
  );
  return taken.length > 0 && taken.length >= values.filter((value) => value !== null).length
    ? { enum: taken }
    : {};
}

function definitionsOf({ $defs, definitions }: JsonObject): JsonObject {
  const given = [definitions, $defs].filter(isJsonObject);
  return given.length === 0 ? {} : { $defs: eachOf(Object.assign({}, ...given)) };
}

function innerOf(schema: JsonObject): JsonObject {
  const { properties, required, additionalProperties, items, prefixItems, anyOf, oneOf } = schema;
  return {
    ...(isJsonObject(properties) && { properties: eachOf(properties) }),
    // One that is not described may not be required.
    ...(isJsonObject(properties) &&
      Array.isArray(required) && {
        required: required.filter((name) => Object.hasOwn(properties, String(name))),
      }),
    ...(additionalProperties !== undefined && {
      additionalProperties:
        typeof additionalProperties === 'boolean'
          ? additionalProperties
          : acceptedSchema(additionalProperties),
    }),
    // A list of them is an older draft's word for `prefixItems`.
    ...(Array.isArray(items) ? { prefixItems: items.map(acceptedSchema) } : {}),
    ...(isJsonObject(items) && { items: acceptedSchema(items) }),
    ...(Array.isArray(prefixItems) && { prefixItems: prefixItems.map(acceptedSchema) }),
    ...(Array.isArray(anyOf) && { anyOf: anyOf.map(acceptedSchema) }),
    ...(Array.isArray(oneOf) && { oneOf: oneOf.map(acceptedSchema) }),
  };
}

function eachOf(schemas: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, acceptedSchema(schema)]));
}
