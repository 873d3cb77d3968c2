import { AppError } from '../../core/errors.ts';

type Named = { readonly id: string };
/** A parameter of a request, and the item it names, if it is given. */
type Bound = readonly [param: string, id: string | undefined];

/** What lies behind one item and before another. Throws AppError, which says `fault`, for an item that is not there. */
export function between<Item extends Named>(
  items: readonly Item[],
  after: Bound,
  before: Bound,
  fault: (id: string) => string,
): readonly Item[] {
  const placeOf = ([param, id]: Bound): number | undefined => {
    if (id === undefined) return undefined;
    const place = items.findIndex((item) => item.id === id);
    if (place === -1) throw new AppError('invalid_request', `${param}: ${fault(id)}`, { param });
    return place;
  };
  return items.slice((placeOf(after) ?? -1) + 1, placeOf(before));
}

/** How pages of both dialects name their ends. */
export function endsOf(page: readonly Named[]) {
  return { first_id: page[0]?.id ?? null, last_id: page.at(-1)?.id ?? null };
}
