import { z } from 'zod';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { noName } from './calls.ts';

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
