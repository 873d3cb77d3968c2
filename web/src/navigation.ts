import { computed, signal } from '@preact/signals';

/** Which page is shown, and links to others: `#/accounts/acc_1?state=resting`. */

export type PageId = 'start' | 'overview' | 'accounts' | 'turns' | 'usage' | 'keys' | 'models' | 'settings';

const address = signal(location.hash);
addEventListener('hashchange', () => {
  address.value = location.hash;
});

/** The page, what follows its name, and its filters. */
export const place = computed(() => {
  const [path = '', query = ''] = address.value.replace(/^#\/?/, '').split('?', 2);
  const [page = '', ...rest] = path.split('/');
  return { page, rest: rest.map(decoded), filters: new URLSearchParams(query) };
});

export function linkTo(
  page: PageId,
  rest: readonly string[] = [],
  filters: Readonly<Record<string, string | undefined>> = {},
): string {
  const given = Object.entries(filters).filter((entry): entry is [string, string] => Boolean(entry[1]));
  const query = new URLSearchParams(given).toString();
  return `#/${[page, ...rest.map(encodeURIComponent)].join('/')}${query === '' ? '' : `?${query}`}`;
}

export function goTo(...where: Parameters<typeof linkTo>): void {
  location.hash = linkTo(...where);
}

/** Changes the filters in the address without a step in the browser's history. */
export function setFilters(filters: Readonly<Record<string, string | undefined>>): void {
  const { page, rest } = place.peek();
  history.replaceState(null, '', linkTo(page as PageId, rest, filters));
  address.value = location.hash;
}

/** A filter of the address, for a field; its usual value is left out of the address. */
export function filter(name: string, usual = ''): { value: string } {
  return {
    get value() {
      return place.value.filters.get(name) ?? usual;
    },
    set value(given) {
      setFilters({ ...filtersNow(), [name]: given === usual ? undefined : given });
    },
  };
}

/** As `linkTo` takes them, for a link that leaves them as they are. */
export function filtersNow(): Readonly<Record<string, string>> {
  return Object.fromEntries(place.value.filters);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
