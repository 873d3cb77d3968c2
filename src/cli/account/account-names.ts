import type { PoolAdmin } from '../../pool-api/pool.ts';

const idsAtOnce = 100;

export const shortId = (id: string): string => id.slice(0, 12);

/**
 * What accounts are called: by e-mail address or label, with the beginning of the id where a name is shared. Those without a name,
 * those that were removed, and all of them where the pool cannot be asked have what `unnamed` makes of their id.
 */
export async function accountNames(
  listAccounts: PoolAdmin['listAccounts'],
  given: readonly (string | null | undefined)[],
  unnamed: (id: string) => string = shortId,
): Promise<(id: string) => string> {
  const ids = [...new Set(given)].filter((id) => typeof id === 'string' && id !== '');
  const names = new Map<string, string>();
  try {
    for (let at = 0; at < ids.length; at += idsAtOnce) {
      const query = { ids: ids.slice(at, at + idsAtOnce).join(), limit: idsAtOnce };
      for (const { id, email, label } of (await listAccounts(query)).accounts)
        if (email || label) names.set(id, email || label || '');
    }
  } catch {
    // Ids still say which accounts they are.
  }
  const all = [...names.values()];
  return (id) => {
    const name = names.get(id);
    if (name === undefined) return unnamed(id);
    return all.indexOf(name) === all.lastIndexOf(name) ? name : `${name} (${shortId(id)})`;
  };
}
