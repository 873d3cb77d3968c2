const pageSize = 500;

/** Items of all pages, at most `limit`. `read` answers one page and where the next one begins; null after the last. */
export async function collectPages<Item, Place>(
  limit: number,
  read: (pageLimit: number, place: Place | undefined) => Promise<readonly [readonly Item[], Place | null]>,
): Promise<Item[]> {
  const items: Item[] = [];
  for (let place: Place | undefined; ; ) {
    const [more, next] = await read(Math.min(pageSize, limit - items.length), place);
    items.push(...more);
    if (next === null || items.length >= limit) return items;
    place = next;
  }
}
