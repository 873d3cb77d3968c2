import type { ConfiguredCandidate, ConfiguredRoute } from '../../core/configured-routes.ts';
import type { RequestTraits } from './request-traits.ts';

/** The configured routes by name: an exact name before patterns, and of these the one that says most. */
export class RouteTable {
  readonly #exact: ReadonlyMap<string, ConfiguredRoute>;
  readonly #patterns: readonly ConfiguredRoute[];

  constructor(routes: readonly ConfiguredRoute[]) {
    this.#exact = new Map(routes.filter((route) => !isPattern(route)).map((route) => [route.model, route]));
    this.#patterns = routes
      .filter(isPattern)
      .toSorted((one, other) => literalsIn(other) - literalsIn(one) || starsIn(one) - starsIn(other));
  }

  /** Every route that a client can ask for by its very name. */
  get named(): readonly ConfiguredRoute[] {
    return [...this.#exact.values()];
  }

  exact(name: string): ConfiguredRoute | undefined {
    return this.#exact.get(name);
  }

  find(name: string): ConfiguredRoute | undefined {
    return this.#exact.get(name) ?? this.#patterns.find(({ model }) => matches(model, name));
  }
}

/** Whether `*` of the pattern may stand for parts of the name, none of them too. */
export function matches(pattern: string, name: string): boolean {
  const [head = '', ...others] = pattern.split('*');
  const tail = others.pop();
  if (tail === undefined) return pattern === name;
  if (!name.startsWith(head) || !name.endsWith(tail) || name.length < head.length + tail.length) return false;
  const end = name.length - tail.length;
  let at = head.length;
  for (const part of others) {
    const found = name.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

function isPattern({ model }: ConfiguredRoute): boolean {
  return model.includes('*');
}
function starsIn({ model }: ConfiguredRoute): number {
  return model.split('*').length - 1;
}
function literalsIn(route: ConfiguredRoute): number {
  return route.model.length - starsIn(route);
}

/** Candidates in the order of one turn: tier by tier, and in a tier drawn by weight without putting one back. */
export function drawOrder(
  candidates: readonly ConfiguredCandidate[],
  random: () => number,
): readonly ConfiguredCandidate[] {
  if (new Set(candidates.map(({ tier }) => tier)).size === candidates.length)
    return candidates.toSorted((one, other) => one.tier - other.tier);
  // With these times until its turn, each comes first as often as its weight says.
  return candidates
    .map((candidate) => ({ candidate, time: -Math.log(1 - random()) / candidate.weight }))
    .toSorted((one, other) => one.candidate.tier - other.candidate.tier || one.time - other.time)
    .map(({ candidate }) => candidate);
}

/** Why a candidate takes no such request; undefined where it does. */
export function hindranceOf(
  { when }: ConfiguredCandidate,
  traits: () => RequestTraits,
): 'tools' | 'images' | 'context' | undefined {
  const { tools, images, maxContext } = when;
  if (tools !== undefined && tools !== traits().hasTools) return 'tools';
  if (images !== undefined && images !== traits().hasImages) return 'images';
  return maxContext !== undefined && traits().tokens > maxContext ? 'context' : undefined;
}
