import type { FastifyRequest } from 'fastify';

/** A route as it was given to the server. */
export interface ServedRoute {
  readonly method: string;
  readonly url: string;
  readonly access: string;
  /** Clients that ask for it with another method mostly have a wrong base URL. */
  readonly isFrontPage: boolean;
}

/** The path of a request, as routes are compared with it. */
export function pathOf(url: string): string {
  // A proxy may name the whole address.
  const path = url.split('?', 1)[0]?.replace(/^https?:\/\/[^/]*/i, '') ?? '';
  return path.replace(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '');
}

/** The methods of a path's own routes, or else of those whose parameters it fits. */
export function methodsAt(routes: readonly ServedRoute[], path: string): string[] {
  const own = routes.filter(({ url }) => url === path);
  const found = own.length > 0 ? own : routes.filter(({ url }) => patternOf(url).test(path));
  return [...new Set(found.map(({ method }) => method))];
}

const patterns = new Map<string, RegExp>();

/** `/:id` and `/*`, as the routes have them. */
function patternOf(url: string): RegExp {
  const known = patterns.get(url);
  if (known !== undefined) return known;
  const parts = url.split(/(:[^/]+|\*)/).map((part) => {
    if (part === '*') return '.*';
    return part.startsWith(':') ? '[^/]+' : RegExp.escape(part);
  });
  const pattern = new RegExp(`^${parts.join('')}$`);
  patterns.set(url, pattern);
  return pattern;
}

/** Not where a parameter took the name of another call for a value, such as `compact` for an id. */
export function isMeant(
  routes: readonly ServedRoute[],
  { url, method, routeOptions }: FastifyRequest,
): boolean {
  const path = pathOf(url);
  if (routeOptions.url === path) return true;
  const own = routes.filter((route) => route.url === path);
  return own.length === 0 || own.some((route) => route.method === (method === 'HEAD' ? 'GET' : method));
}
