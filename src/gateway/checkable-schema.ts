import { dereference, format, type Schema } from '@cfworker/json-schema';
import { isJsonObject } from '../lib/parse-json.ts';
import { listedSchemas, namedSchemas, singleSchemas } from './schema-form.ts';

type Keywords = Readonly<Record<string, unknown>>;

export interface CheckableSchema {
  /** The schema without what cannot be checked: it takes all that the whole schema takes, and more. */
  readonly schema: Keywords;
  /** The keywords that are not checked. */
  readonly unchecked: readonly string[];
}

const knownDraft =
  /^https?:\/\/json-schema\.org\/(?:schema|draft-0?[467]|draft\/2019-09|draft\/2020-12)(?:\/schema)?#?$/;

/**
 * What of a schema an answer can be checked against. Left out are patterns that are no regular expressions of JavaScript,
 * references to other documents, and dynamic references; formats and drafts that are not known have no effect. Around
 * them goes what would refuse an answer for their absence, such as a `not`.
 */
export function checkableSchema(schema: Keywords): CheckableSchema {
  const unchecked = new Set<string>();
  const dialect = schema['$schema'];
  if (typeof dialect === 'string' && !knownDraft.test(dialect)) unchecked.add('$schema');
  const known = dereference(schema as Schema);
  const lost = new Set<object>();
  for (const part of Object.values(known)) {
    if (typeof part !== 'object') continue;
    const { $ref, __absolute_ref__: target } = part;
    if ($ref !== undefined && (target === undefined || known[target] === undefined)) lost.add(part);
    if (isUnknownFormat(part.format)) unchecked.add('format');
    for (const keyword of faultyKeywords(part, lost)) unchecked.add(keyword);
  }
  const hasLoss = [...unchecked].some((keyword) => keyword !== 'format' && keyword !== '$schema');
  return { schema: hasLoss ? weakened(schema, lost).schema : schema, unchecked: [...unchecked] };
}

/** Whether a pattern can be tried: other dialects have more, such as `(?i)` and `\A`. */
function isPattern(source: unknown): boolean {
  try {
    new RegExp(String(source), 'u');
    return true;
  } catch {
    return false;
  }
}

function isUnknownFormat(name: unknown): boolean {
  return typeof name === 'string' && !Object.hasOwn(format, name);
}

function faultyKeywords(part: Keywords, lost: ReadonlySet<object>): string[] {
  const patterns = Object.keys(part['patternProperties'] ?? {});
  return [
    ...(lost.has(part) ? ['$ref'] : []),
    ...(part['pattern'] !== undefined && !isPattern(part['pattern']) ? ['pattern'] : []),
    ...(patterns.every(isPattern) ? [] : ['patternProperties']),
    ...(part['$dynamicRef'] === undefined ? [] : ['$dynamicRef']),
  ];
}

/** `isWeak`: it takes more than it did, or may do so by a reference. */
function weakened(part: unknown, lost: ReadonlySet<object>): { schema: Keywords; isWeak: boolean } {
  if (!isJsonObject(part)) return { schema: part as Keywords, isWeak: false };
  const faulty = faultyKeywords(part, lost);
  const schema: Record<string, unknown> = { ...part };
  for (const keyword of faulty) {
    if (keyword !== 'patternProperties') delete schema[keyword];
    else {
      const kept = Object.entries(schema[keyword] as Keywords).filter(([pattern]) => isPattern(pattern));
      schema[keyword] = Object.fromEntries(kept);
      // Properties that only a lost pattern names would be taken for further ones.
      delete schema['additionalProperties'];
    }
  }
  const weak = new Set<string>(faulty);
  if (schema['$ref'] !== undefined || schema['$recursiveRef'] !== undefined) weak.add('$ref');
  for (const keyword of [...singleSchemas, ...listedSchemas, ...namedSchemas, 'items']) {
    if (!Object.hasOwn(schema, keyword)) continue;
    const inner = (value: unknown): unknown => {
      const found = weakened(value, lost);
      if (found.isWeak) weak.add(keyword);
      return found.schema;
    };
    const value = schema[keyword];
    if (Array.isArray(value)) schema[keyword] = value.map(inner);
    else if (!namedSchemas.includes(keyword)) schema[keyword] = inner(value);
    else {
      const entries = Object.entries(value as Keywords).map(([name, one]) => [name, inner(one)] as const);
      schema[keyword] = Object.fromEntries(entries);
    }
  }
  if (weak.has('not')) delete schema['not'];
  if (weak.has('if')) for (const keyword of ['if', 'then', 'else']) delete schema[keyword];
  if (weak.has('oneOf')) {
    schema['allOf'] = [...((schema['allOf'] as unknown[] | undefined) ?? []), { anyOf: schema['oneOf'] }];
    delete schema['oneOf'];
  }
  const isWeak = weak.size > 0;
  if (isWeak) {
    for (const keyword of ['maxContains', 'unevaluatedProperties', 'unevaluatedItems'])
      delete schema[keyword];
  }
  return { schema, isWeak };
}
