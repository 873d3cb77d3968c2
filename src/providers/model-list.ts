import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { askJson } from './ask-json.ts';

/** Asks for a list of models as `askJson` does. Throws AppError `upstream_protocol` for any other answer, too. */
export async function askForModels<Schema extends z.ZodType>(
  http: ProviderHttp,
  schema: Schema,
  request: Parameters<typeof askJson>[1],
): Promise<z.output<Schema>> {
  const list = schema.safeParse(await askJson(http, request));
  if (list.success) return list.data;
  const [address] = request.url.split('?');
  throw new AppError('upstream_protocol', `${address} gave no list of models.`, { cause: list.error });
}

const mostPages = 20;

/** What all pages of a list hold, up to one that names no further page, or itself. */
export async function allPages<Item>(
  askPage: (after: string | undefined) => Promise<{
    readonly items: readonly Item[];
    readonly next: string | null | undefined;
  }>,
): Promise<Item[]> {
  const all: Item[] = [];
  let after: string | undefined;
  for (let pages = 0; pages < mostPages; pages += 1) {
    const { items, next } = await askPage(after);
    all.push(...items);
    if (!next || next === after) break;
    after = next;
  }
  return all;
}

/** A provider's list, without the entries that cannot be read: one odd model must not hide the others. */
export function readableEntries<Entry extends z.ZodType>(entry: Entry) {
  return z.array(z.unknown()).transform((items) =>
    items.flatMap((item) => {
      const read = entry.safeParse(item);
      return read.success ? [read.data] : [];
    }),
  );
}
