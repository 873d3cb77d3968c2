import { z } from 'zod';
import { upToFirstProblem } from '../../core/first-problem-only.ts';

/** A field that may be absent, or of a shape not known here: then it counts as absent. */
export function optional<Schema extends z.ZodType>(schema: Schema) {
  return schema.nullish().catch(undefined);
}

/** More items than any list of the provider has. */
const mostItems = 2_000;

/** A list without the items that cannot be read. */
export function listOf<Schema extends z.ZodType>(schema: Schema) {
  return z.array(z.unknown()).transform((items) =>
    items.slice(0, mostItems).flatMap((item): z.infer<Schema>[] => {
      const parsed = schema.safeParse(item, upToFirstProblem);
      return parsed.success ? [parsed.data] : [];
    }),
  );
}
