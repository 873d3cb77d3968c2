import type { z } from 'zod';
import { quoted } from './refused.ts';

/**
 * The problem a person should mend first: the deepest one zod found, since a union reports its members' problems
 * below itself. The path is dotted, as clients spell `param`.
 */
export function firstProblem(error: z.ZodError, body: unknown): { path: string; message: string } {
  const issue = error.issues[0];
  if (!issue) return { path: 'body', message: 'is not valid' };
  const deepest = deepestIssue(issue, []);
  const path = deepest.path.map(String).join('.');
  const value = valueAt(body, deepest.path);
  const rule = plainRule(deepest.message);
  const message = value === undefined ? `is missing (${rule})` : namingKind(rule, deepest.path, value);
  return { path: path === '' ? 'body' : path, message };
}

const kindNames: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  record: 'an object',
  array: 'a list',
};

/** What zod says in the words of our own messages. */
function plainRule(message: string): string {
  const [, options] =
    /^Invalid (?:option: expected one of|discriminator value\. Expected) (.+)$/.exec(message) ?? [];
  if (options !== undefined) {
    const names = options.replaceAll("'", '"').split(/ ?\| ?/);
    return `must be ${names.join(', ').replace(/, (?=[^,]*$)/, ' or ')}`;
  }
  const [, size, kind, number, unit] =
    /^Too (small|big): expected (\w+) to (?:have|be) [<>]=(\d+)(?: (\w+))?$/.exec(message) ?? [];
  if (kind !== undefined) {
    const bound = `${size === 'small' ? 'at least' : 'at most'} ${number}`;
    return unit === undefined ? `must be ${bound}` : `must have ${bound} ${unit}`;
  }
  const [, expected = '', received] = /^Invalid input: expected (\w+), received (\w+)$/.exec(message) ?? [];
  const name = kindNames[expected];
  if (name === undefined) return message;
  return received === undefined || received === 'undefined'
    ? `must be ${name}`
    : `must be ${name}, not ${kindNames[received] ?? received}`;
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
