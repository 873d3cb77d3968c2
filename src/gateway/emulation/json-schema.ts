import { Worker } from 'node:worker_threads';
import {
  dereference,
  format,
  type Schema,
  schemaArrayKeyword,
  schemaKeyword,
  schemaMapKeyword,
} from '@cfworker/json-schema';
import { AppError } from '../../core/errors.ts';
import type { Clock } from '../../lib/clock.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { createLimit } from '../../lib/tasks.ts';
import type { SchemaJob, SchemaReply } from './schema-worker.ts';

/** Characters of a schema as JSON; all of it is sent to the model. */
const longestSchema = 256 * 1024;
const deepest = 256;
/** Characters of the paths to all its parts, of which a checker makes a list. */
const longestPaths = 4 * 1024 * 1024;

/**
 * Throws AppError `invalid_request` naming `param` when a schema is none that answers could be checked against. Looks at its form
 * alone: trying it out could take for ever.
 */
export function checkSchema(schema: JsonObject, param: string): void {
  const fault = faultOf(schema);
  if (fault === undefined) return;
  throw new AppError('invalid_request', `${param}: is no JSON schema that can be checked: ${fault}.`, {
    param,
  });
}

function faultOf(schema: JsonObject): string | undefined {
  try {
    const size = sizeFaultOf(schema);
    if (size !== undefined) return size;
    if (JSON.stringify(schema).length > longestSchema) return 'it is longer than 256 KB';
    const form = formFaultOf(schema);
    if (form !== undefined) return form;
    const known = dereference(schema as Schema);
    for (const part of Object.values(known)) {
      if (typeof part !== 'object') continue;
      const { $ref, __absolute_ref__: ref } = part;
      // What lies in another document is left unchecked.
      if ($ref?.startsWith('#') && (ref === undefined || known[ref] === undefined)) {
        return `its reference ${JSON.stringify($ref).slice(0, 200)} leads nowhere`;
      }
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.slice(0, 200) : 'it cannot be read';
  }
}

/** Before anything walks over it that calls itself or copies paths. */
function sizeFaultOf(schema: unknown): string | undefined {
  const waiting = [{ part: schema, depth: 0, path: 0 }];
  let paths = 0;
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { part, depth, path } = next;
    paths += path;
    if (depth > deepest) return 'it is nested too deeply';
    if (paths > longestPaths) return 'it has too many parts';
    if (typeof part !== 'object' || part === null) continue;
    for (const [name, inner] of Object.entries(part)) {
      waiting.push({ part: inner, depth: depth + 1, path: path + name.length + 1 });
    }
  }
  return undefined;
}

const types = ['array', 'boolean', 'integer', 'null', 'number', 'object', 'string'];
/** Keywords that hold a schema, a list of schemas, or schemas by name. */
const withoutItems = (keywords: object) => Object.keys(keywords).filter((keyword) => keyword !== 'items');
const singleSchemas = withoutItems(schemaKeyword);
const listedSchemas = withoutItems(schemaArrayKeyword);
const namedSchemas = Object.keys(schemaMapKeyword);
const isText = (value: unknown) => typeof value === 'string';
/** What the values of these keywords have to be. */
const forms: Readonly<Record<string, readonly [isGood: (value: unknown) => boolean, what: string]>> = {
  type: [(value) => [value].flat().every((type) => types.includes(type as string)), `of ${types.join(', ')}`],
  required: [(value) => Array.isArray(value) && value.every(isText), 'a list of names'],
  pattern: [isText, 'a regular expression'],
  $ref: [isText, 'a reference'],
  enum: [Array.isArray, 'a list of values'],
  ...Object.fromEntries(listedSchemas.map((keyword) => [keyword, [Array.isArray, 'a list of schemas']])),
  ...Object.fromEntries(namedSchemas.map((keyword) => [keyword, [isJsonObject, 'an object of schemas']])),
};

/**
 * What of a schema has not the form that JSON Schema gives it, in a few words. No answer could ever follow such a schema,
 * and the model would be blamed for it. Keywords that are not known may hold anything.
 */
function formFaultOf(schema: JsonObject): string | undefined {
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
  for (const [keyword, [isGood, what]] of Object.entries(forms)) {
    if (!Object.hasOwn(schema, keyword) || isGood(schema[keyword])) continue;
    return `its ${JSON.stringify(keyword)} is ${shown(schema[keyword])}, and has to be ${what}`;
  }
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

function shown(value: unknown): string {
  return JSON.stringify(value).slice(0, 100);
}

export interface CheckableSchema {
  /** The schema without what cannot be checked: it takes all that the whole schema takes, and more. */
  readonly schema: JsonObject;
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
export function checkableSchema(schema: JsonObject): CheckableSchema {
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

function faultyKeywords(part: JsonObject, lost: ReadonlySet<object>): string[] {
  const patterns = Object.keys(part['patternProperties'] ?? {});
  return [
    ...(lost.has(part) ? ['$ref'] : []),
    ...(part['pattern'] !== undefined && !isPattern(part['pattern']) ? ['pattern'] : []),
    ...(patterns.every(isPattern) ? [] : ['patternProperties']),
    ...(part['$dynamicRef'] === undefined ? [] : ['$dynamicRef']),
  ];
}

/** `isWeak`: it takes more than it did, or may do so by a reference. */
function weakened(part: unknown, lost: ReadonlySet<object>): { schema: JsonObject; isWeak: boolean } {
  if (!isJsonObject(part)) return { schema: part as JsonObject, isWeak: false };
  const faulty = faultyKeywords(part, lost);
  const schema: Record<string, unknown> = { ...part };
  for (const keyword of faulty) {
    if (keyword !== 'patternProperties') delete schema[keyword];
    else {
      const kept = Object.entries(schema[keyword] as JsonObject).filter(([pattern]) => isPattern(pattern));
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
      const entries = Object.entries(value as JsonObject).map(([name, one]) => [name, inner(one)] as const);
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

/** A schema that no answer can be checked against, or not in time; the message goes on after its name. */
export class SchemaUnusableError extends Error {
  override readonly name = 'SchemaUnusableError';
}

const timeLimitMs = 2_000;
/** While this process pauses, a check does not go on either: a pause takes one part of the limit at most. */
const limitParts = 4;
const memoryLimitMb = 256;

interface Line {
  readonly limit: ReturnType<typeof createLimit>;
  waiting: number;
}

/**
 * Checks JSON against the schemas of clients. A few lines of schema, a pattern or references that branch, can keep a checker busy for
 * years. So it works in a thread of its own, started when first needed, one check at a time, and is ended when one takes too long.
 * Answers go there as text: no value is nested too deeply for that.
 */
export class SchemaChecker {
  readonly #clock: Clock;
  readonly #limit = createLimit(1);
  /** By client. */
  readonly #lines = new Map<string, Line>();
  #worker: Promise<Worker> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What keeps a JSON text from following the schema of a client, in a few words. Throws SchemaUnusableError. */
  async faultOf(schema: JsonObject, json: string, clientId: string): Promise<string | undefined> {
    const reply = await this.#inLine(clientId, () => this.#check({ schema, json }));
    if ('unusable' in reply) throw new SchemaUnusableError(`cannot be checked (${reply.unusable})`);
    return reply.fault;
  }

  async close(): Promise<void> {
    const running = await this.#worker;
    this.#worker = undefined;
    await running?.terminate();
  }

  async #check(job: SchemaJob): Promise<SchemaReply> {
    this.#worker ??= startWorker();
    const running = await this.#worker;
    return await new Promise<SchemaReply>((resolve, reject) => {
      const settle = (): void => {
        cancel();
        running.removeAllListeners('message');
        running.removeAllListeners('error');
      };
      const giveUp = (reason: string): void => {
        settle();
        this.#worker = undefined;
        // Its late errors are of no use.
        running.on('error', () => {});
        void running.terminate();
        reject(new SchemaUnusableError(reason));
      };
      let cancel = (): void => {};
      const wait = (parts: number): void => {
        cancel = this.#clock.after(timeLimitMs / limitParts, () => {
          if (parts > 1) wait(parts - 1);
          else giveUp('takes too long to check an answer against');
        });
      };
      wait(limitParts);
      running.once('error', () => giveUp('takes too much memory to check an answer against'));
      running.once('message', (reply: SchemaReply) => {
        settle();
        resolve(reply);
      });
      running.postMessage(job);
    });
  }

  /** One check of each client waits in the common queue: slow ones delay their own client, and others by one each. */
  async #inLine<T>(clientId: string, task: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(clientId) ?? { limit: createLimit(1), waiting: 0 };
    this.#lines.set(clientId, line);
    line.waiting += 1;
    try {
      return await line.limit(() => this.#limit(task));
    } finally {
      line.waiting -= 1;
      if (line.waiting === 0) this.#lines.delete(clientId);
    }
  }
}

/** Resolves once it takes work, so that its start is not counted as checking. */
async function startWorker(): Promise<Worker> {
  // Sources run as .ts, the built package as .js, and tsc rewrites no URLs.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const worker = new Worker(new URL(`./schema-worker.${extension}`, import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: memoryLimitMb },
  });
  await new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  worker.removeAllListeners('error');
  // It keeps no process alive.
  worker.unref();
  return worker;
}
