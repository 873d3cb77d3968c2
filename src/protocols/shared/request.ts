import { z } from 'zod';
import { AppError, refused } from '../../core/errors.ts';
import { upToFirstProblem } from '../../core/first-problem-only.ts';
import { plainRule } from '../../core/plain-rule.ts';
import type { DecodedTurn, RelayedRequest } from '../../core/protocol.ts';
import {
  type AskedRequest,
  type Limits,
  type Reasoning,
  type ResponseFormat,
  type Sampling,
  toolsText,
  type Wish,
} from '../../core/turn.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { noName } from './calls.ts';

/**
 * A request's body by its schema, which wants at least `fields`; a plain one follows it as it is. Throws AppError `invalid_request`.
 */
export function parseBody<Schema extends z.ZodType>(
  schema: Schema,
  body: unknown,
  fields: string,
  isPlain?: (body: JsonObject) => boolean,
): z.infer<Schema> {
  if (!isJsonObject(body)) {
    throw new AppError('invalid_request', `The body must be a JSON object with ${fields}.`);
  }
  return isPlain?.(body) ? (body as z.infer<Schema>) : parseFields(schema, body);
}

/**
 * Tells bodies of which each member that the schema knows is seen to follow it at a glance, by the functions of `members`: to find that
 * out by the schema costs more than to read the rest of the request.
 */
export function plainBodies(
  { shape }: z.ZodObject,
  members: Readonly<Record<string, (value: unknown) => boolean>>,
): (body: JsonObject) => boolean {
  const needed = Object.keys(shape).filter((name) => !shape[name]?.safeParse(undefined).success);
  const known = new Map(Object.keys(shape).map((name) => [name, members[name] ?? (() => false)]));
  // Zod leaves a member of that name out.
  known.set('__proto__', () => false);
  return (body) => {
    for (const name of Object.keys(body)) if (known.get(name)?.(body[name]) === false) return false;
    return needed.every((name) => body[name] !== undefined);
  };
}

/** What members of plain bodies hold. */
export const plain = {
  text: (value: unknown) => typeof value === 'string',
  modelName: (value: unknown) => typeof value === 'string' && value !== '' && value.length <= 256,
  flag: (value: unknown) => typeof value === 'boolean',
  list: (value: unknown) => Array.isArray(value) && value.length > 0,
  count: (value: unknown) => Number.isSafeInteger(value) && Number(value) > 0,
  upTo: (most: number) => (value: unknown) => typeof value === 'number' && value >= 0 && value <= most,
};

/** The fields of a query or a body by their schema. Throws AppError `invalid_request`. */
export function parseFields<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(value, upToFirstProblem);
  if (parsed.success) return parsed.data;
  const { path, message } = firstProblem(parsed.error, value);
  throw new AppError('invalid_request', `${path}: ${message}`, { param: path });
}

/**
 * The problem a person should mend first: the deepest one zod found, since a union reports its members' problems
 * below itself. The path is dotted, as clients spell `param`.
 */
export function firstProblem(error: z.ZodError, body: unknown): { path: string; message: string } {
  const issue = error.issues[0];
  if (!issue) return { path: 'body', message: 'is not valid' };
  if (issue.code === 'unrecognized_keys') {
    const path = [...issue.path, issue.keys[0]].map(String).join('.');
    return { path, message: 'is no field of this request' };
  }
  const deepest = deepestIssue(issue, []);
  const path = deepest.path.map(String).join('.');
  const value = valueAt(body, deepest.path);
  const rule = plainRule(deepest.message);
  const message = value === undefined ? `is missing (${rule})` : namingKind(rule, deepest.path, value);
  return { path: path === '' ? 'body' : path, message };
}

/** Where a kind is not known, its name says more than its place. */
function namingKind(message: string, path: readonly PropertyKey[], value: unknown): string {
  const isKind = path.at(-1) === 'type' || path.at(-1) === 'role';
  if (!isKind || typeof value !== 'string') return message;
  const name = quoted(value);
  return message.startsWith('must be ') ? `${message}, not ${name}` : `${name} ${message}`;
}

type Issue = z.core.$ZodIssue;

function deepestIssue(issue: Issue, prefix: PropertyKey[]): { path: PropertyKey[]; message: string } {
  const path = [...prefix, ...issue.path];
  if (issue.code !== 'invalid_union') return { path, message: issue.message };
  // What is wrong with the kind the client meant says more than that it is none of the other kinds. The last member is
  // the one for kinds that are not known.
  const ofItsKind = issue.errors.filter((issues) => !issues.some(isOfAnotherKind));
  const inner = (ofItsKind.length > 0 ? ofItsKind : issue.errors.slice(-1))
    .map((issues) => issues[0])
    .filter((found) => found !== undefined)
    .map((found) => deepestIssue(found, path))
    .sort((left, right) => right.path.length - left.path.length)[0];
  return inner && inner.path.length > path.length ? inner : { path, message: issue.message };
}

function isOfAnotherKind({ path }: Issue): boolean {
  return path.length === 1 && path[0] === 'type';
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** A name that a client gave, in an error. */
export function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}

/** An object with the one property, or none where the value is null or undefined. */
export function ifSet<Name extends string, Value>(
  name: Name,
  value: Value | null | undefined,
): { [Key in Name]?: Value } {
  return isGiven(value) ? ({ [name]: value } as { [Key in Name]?: Value }) : {};
}

function isGiven<Value>(value: Value): value is NonNullable<Value> {
  return value !== null && value !== undefined;
}

/**
 * What an answer has to look like, from the form all dialects share: a type, and a schema where the type wants one.
 * `param` is the path of the form in the request. Throws AppError `invalid_request`.
 */
export function jsonFormat(
  given: { readonly type: string; readonly schema?: unknown } | null | undefined,
  param: string,
): ResponseFormat {
  switch (given?.type ?? 'text') {
    case 'text':
      return { type: 'text' };
    case 'json_object':
      return { type: 'json' };
    case 'json_schema': {
      const schema = given?.schema;
      if (!isJsonObject(schema)) throw refused(`${param}.schema`, 'must be a JSON schema, as an object');
      return { type: 'json-schema', schema, param: `${param}.schema` };
    }
    default:
      throw refused(
        param,
        `the format ${quoted(given?.type ?? '')} is not known: use text, json_object or json_schema`,
      );
  }
}

/** `isWanted`: what else than an effort says that the client asks for reasoning. */
export function askedReasoning(effort: string | null | undefined, isWanted: boolean): Reasoning {
  const isAsked = isWanted && effort !== 'none';
  return { ...(effort ? { effort } : {}), ...(isAsked ? { isAsked } : {}) };
}

/** The wishes of a request, from where they were found. */
export function allWishes(...lists: readonly (readonly Wish[])[]): { readonly wishes?: readonly Wish[] } {
  const wishes = lists.flat();
  return wishes.length === 0 ? {} : { wishes };
}

type SamplingName = 'temperature' | 'top_p' | 'seed' | 'presence_penalty' | 'frequency_penalty';

/** These fields have one name in all dialects that have them. Give only those that the schema of the dialect has checked. */
export function samplingOf(
  given: {
    readonly [Name in SamplingName]?: number | null | undefined;
  },
): Sampling {
  const sampling: { -readonly [Name in keyof Sampling]: Sampling[Name] } = {};
  if (isGiven(given.temperature)) sampling.temperature = given.temperature;
  if (isGiven(given.top_p)) sampling.topP = given.top_p;
  if (isGiven(given.seed)) sampling.seed = given.seed;
  if (given.presence_penalty) sampling.presencePenalty = given.presence_penalty;
  if (given.frequency_penalty) sampling.frequencyPenalty = given.frequency_penalty;
  return sampling;
}

/** Empty sequences stop nothing. */
export function limitsOf(
  maxOutputTokens: number | null | undefined,
  stop?: string | readonly string[] | null,
): Limits {
  if (!isGiven(stop)) return ifSet('maxOutputTokens', maxOutputTokens);
  const stopSequences = [stop].flat().filter((sequence) => sequence !== '');
  return {
    ...ifSet('maxOutputTokens', maxOutputTokens),
    ...(stopSequences.length > 0 ? { stopSequences } : {}),
  };
}

/** What a client sends to keep the turns of its session together. Anything but a text is no such key, and no fault. */
export function affinityKey(value: unknown): { readonly affinityKey?: string } {
  return typeof value === 'string' && value !== '' ? { affinityKey: value } : {};
}

/**
 * Four characters a token. Clients read the input tokens from a stream's first event, when most upstreams have told
 * nothing yet; the last event has the figures. A tokenizer would cost more than the guess is worth.
 */
export function estimateInput(request: AskedRequest): number {
  let characters = toolsText(request).length;
  for (const { parts } of request.messages) {
    for (const part of parts) {
      if (part.type === 'tool-call') characters += part.name.length + part.arguments.length;
      else if (part.type !== 'reasoning' && 'text' in part) characters += part.text.length;
    }
  }
  return Math.ceil(characters / 4);
}

/** The limit of the output in a body that is passed on unread. */
export function unreadLimit(...given: readonly unknown[]): { readonly maxOutputTokens?: number } {
  const limit = given.find((one) => typeof one === 'number' && one > 0);
  return typeof limit === 'number' ? { maxOutputTokens: limit } : {};
}

/**
 * A turn for an upstream that speaks the client's dialect: nothing is read of its body but where it goes and what comes back, since the
 * upstream judges the rest. Undefined for one that names no model.
 */
export function unreadTurn<Options>(
  named: JsonObject,
  relayed: Pick<RelayedRequest, 'dialect' | 'body'> & Partial<RelayedRequest>,
  options: Options,
): DecodedTurn<Options> | undefined {
  const request = unreadRequest(named);
  if (!request) return undefined;
  const whole = { isStream: false, includeUsage: true, choices: 1, ...relayed };
  return { request, isStream: whole.isStream, options, ignored: [], relayed: whole };
}

/** More than one answer, where a body that is passed on unread asks for that. */
export function unreadChoices(count: unknown): { readonly choices?: number } {
  return typeof count === 'number' && count > 1 ? { choices: count } : {};
}

/** The request of a body that is passed on unread: it holds the model alone. Undefined for a body that names none. */
function unreadRequest({ model }: JsonObject): AskedRequest | undefined {
  return typeof model === 'string' && model !== '' && model.length <= 256 ? plainRequest(model) : undefined;
}

/** A request that asks for nothing but an answer. */
export function plainRequest(model: string): AskedRequest {
  return {
    model,
    messages: [],
    tools: [],
    toolChoice: { type: 'auto' },
    parallelToolCalls: true,
    sampling: {},
    limits: {},
    responseFormat: { type: 'text' },
    reasoning: {},
  };
}

/** A JSON object with every member it came with: zod's own objects and records leave out one called `__proto__`. */
export const jsonObject = z
  .custom<JsonObject>(isJsonObject, 'must be an object')
  .meta({ type: 'object', additionalProperties: true });

/**
 * A value that the decoder reads by its schema, apart from the rest of the request, so that one that does not follow it
 * costs itself and not the whole request. API documents show the schema.
 */
export function readLater(schema: z.ZodType): z.ZodUnknown {
  return z.unknown().meta(shapeOf(schema));
}

/** A schema as the documents show it. */
export function shapeOf(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _dialect, ...shape } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return shape as Record<string, unknown>;
}

/** The content of a message: text, or a list of parts that are read one by one. */
export function contentOf(part: z.ZodType) {
  return readLater(z.union([z.string(), z.array(part)])).optional();
}

/** What is no text counts as absent. */
export const textOrNone = z.string().nullish().catch(undefined);

/** Of a call in the history. */
export const calledName = z.string().min(1).catch(noName);

export const toolName = z
  .string()
  .regex(/^[A-Za-z0-9_.:-]{1,128}$/, 'must be 1 to 128 characters out of A-Z a-z 0-9 _ . : -');
