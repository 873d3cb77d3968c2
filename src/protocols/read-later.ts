import { z } from 'zod';

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
