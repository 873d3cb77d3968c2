import type { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { upToFirstProblem } from '../core/first-problem-only.ts';
import { isJsonObject } from '../lib/parse-json.ts';
import { firstProblem } from './first-problem.ts';

/** A request's body by its schema, which wants at least `fields`. Throws AppError `invalid_request`. */
export function parseBody<Schema extends z.ZodType>(
  schema: Schema,
  body: unknown,
  fields: string,
): z.infer<Schema> {
  if (!isJsonObject(body)) {
    throw new AppError('invalid_request', `The body must be a JSON object with ${fields}.`);
  }
  return parseFields(schema, body);
}

/** The fields of a query or a body by their schema. Throws AppError `invalid_request`. */
export function parseFields<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(value, upToFirstProblem);
  if (parsed.success) return parsed.data;
  const { path, message } = firstProblem(parsed.error, value);
  throw new AppError('invalid_request', `${path}: ${message}`, { param: path });
}
