import { z } from 'zod';

/** A provider's list, without the entries that cannot be read: one odd model must not hide the others. */
export function readableEntries<Entry extends z.ZodType>(entry: Entry) {
  return z.array(z.unknown()).transform((items) =>
    items.flatMap((item) => {
      const read = entry.safeParse(item);
      return read.success ? [read.data] : [];
    }),
  );
}
