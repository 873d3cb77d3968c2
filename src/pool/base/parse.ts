import { z } from 'zod';
import { upToFirstProblem } from '../../core/first-problem-only.ts';
import { nearNames } from '../../core/near-names.ts';
import { withoutNulls } from '../../core/null-fields.ts';
import { PoolError } from '../../pool-api/errors.ts';

/**
 * What `schema` makes of `value`, whose fields may be null where they may be left out. Throws PoolError `unknown_field` or
 * `invalid_request`, naming the first field at fault.
 */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const asSent = schema.safeParse(value, upToFirstProblem);
  if (asSent.success) return asSent.data;
  const result = schema.safeParse(withoutNulls(schema, value), upToFirstProblem);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  if (issue === undefined) throw new PoolError('invalid_request', 'The request is not valid.');
  if (issue.code === 'unrecognized_keys') {
    const name = issue.keys[0] ?? '';
    const param = [...issue.path, name].join('.');
    const known = issue.path.length === 0 && schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
    const [near] = nearNames(name, known);
    const advice = near === undefined ? '.' : `; did you mean "${near}"?`;
    throw new PoolError('unknown_field', `There is no field "${param}" in this request${advice}`, { param });
  }
  const param = issue.path.join('.');
  if (param === '')
    throw new PoolError('invalid_request', `The body must be a JSON object: ${issue.message}.`);
  throw new PoolError('invalid_request', `"${param}" is not valid: ${issue.message}.`, { param });
}

type Optional<T> = { readonly [Name in keyof T]?: T[Name] | undefined };

/** Fields left out are not the same as fields set to nothing. */
export function definedOnly<T extends object>(fields: Optional<T>): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}
