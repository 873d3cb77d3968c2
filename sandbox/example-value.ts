// A value that fits a JSON schema, made of what a text speaks of where it can be.
import type { Json, JsonObject } from './struct.ts';

/** Deeper than this a schema that contains itself is given up. */
const deepest = 12;

interface Source {
  /** Names, quoted words and numbers of the text that no value has taken yet. */
  readonly words: string[];
  readonly numbers: number[];
  readonly text: string;
  readonly root: JsonObject;
}

/** The required properties alone; the first of several forms; words and numbers of `text` in their order. */
export function exampleOf(schema: JsonObject, text: string): Json {
  const words = [...text.matchAll(/"([^"\n]+)"|(?<=[a-z,] )(\p{Lu}[\p{L}\d'-]*(?: \p{Lu}[\p{L}\d'-]*)*)/gu)];
  const numbers = [...text.matchAll(/(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)/g)];
  return fitting(schema, '', 0, {
    words: words.map(([, quoted, name]) => quoted ?? name ?? ''),
    numbers: numbers.map(([digits]) => Number(digits)),
    text,
    root: schema,
  });
}

function fitting(given: Json | undefined, name: string, depth: number, source: Source): Json {
  const schema = resolve(given, source.root);
  if (depth > deepest) return null;
  if (schema['const'] !== undefined) return schema['const'];
  const choices = schema['enum'];
  if (Array.isArray(choices) && choices.length > 0) {
    const spoken = choices.find((one) => typeof one === 'string' && one !== '' && source.text.includes(one));
    return spoken ?? choices[0] ?? null;
  }
  for (const form of ['anyOf', 'oneOf', 'allOf']) {
    const forms = schema[form];
    if (Array.isArray(forms) && forms.length > 0) return fitting(forms[0], name, depth + 1, source);
  }
  switch (typeOf(schema)) {
    case 'object':
      return objectOf(schema, depth, source);
    case 'array': {
      const count = Math.max(1, numberAt(schema, 'minItems') ?? 1);
      return Array.from({ length: count }, () => fitting(schema['items'], name, depth + 1, source));
    }
    case 'integer':
      return Math.trunc(numberOf(schema, source));
    case 'number':
      return numberOf(schema, source);
    case 'boolean':
      return true;
    case 'null':
      return null;
    default:
      return stringOf(schema, name, source);
  }
}

function objectOf(schema: JsonObject, depth: number, source: Source): JsonObject {
  const required = Array.isArray(schema['required']) ? schema['required'] : [];
  const properties = asObject(schema['properties']);
  const entries = required.map((key): [string, Json] => {
    const name = String(key);
    return [name, fitting(properties[name], name, depth + 1, source)];
  });
  return Object.fromEntries(entries);
}

function typeOf(schema: JsonObject): Json | undefined {
  const { type } = schema;
  if (Array.isArray(type)) return type.find((one) => one !== 'null') ?? 'null';
  return type ?? (schema['properties'] === undefined ? undefined : 'object');
}

function numberOf(schema: JsonObject, source: Source): number {
  const least = numberAt(schema, 'minimum') ?? Number.NEGATIVE_INFINITY;
  const most = numberAt(schema, 'maximum') ?? Number.POSITIVE_INFINITY;
  const at = source.numbers.findIndex((number) => number >= least && number <= most);
  const spoken = at === -1 ? undefined : source.numbers.splice(at, 1)[0];
  return spoken ?? Math.min(most, Math.max(least, 1));
}

const formats: Readonly<Record<string, string>> = {
  date: '2026-01-31',
  'date-time': '2026-01-31T12:00:00Z',
  time: '12:00:00Z',
  email: 'person@example.com',
  uri: 'https://example.com/',
  uuid: '00000000-0000-4000-8000-000000000000',
};

function stringOf(schema: JsonObject, name: string, source: Source): string {
  const format = schema['format'];
  const fixed = typeof format === 'string' && Object.hasOwn(formats, format) ? formats[format] : undefined;
  const value = fixed ?? source.words.shift() ?? (name || 'text');
  return value.padEnd(numberAt(schema, 'minLength') ?? 0, '.').slice(0, numberAt(schema, 'maxLength'));
}

function resolve(given: Json | undefined, root: JsonObject): JsonObject {
  let schema = asObject(given);
  // A reference may lead to another one, and in a circle.
  for (let step = 0; step < deepest; step++) {
    const reference = schema['$ref'];
    if (typeof reference !== 'string' || !reference.startsWith('#')) return schema;
    let target: Json | undefined = root;
    for (const key of reference.slice(1).split('/').filter(Boolean)) {
      target = asObject(target)[key.replaceAll('~1', '/').replaceAll('~0', '~')];
    }
    schema = asObject(target);
  }
  return {};
}

function numberAt(schema: JsonObject, key: string): number | undefined {
  const value = schema[key];
  return typeof value === 'number' ? value : undefined;
}

function asObject(value: Json | undefined): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}
