import type { ConfiguredCandidate, ConfiguredRoute } from '../../core/configured-routes.ts';
import { bySpecificity, isPattern, matches } from './name-patterns.ts';
import type { RequestTraits } from './request-traits.ts';

/** The configured routes by name: an exact name before patterns, and of these the one that says most. */
export class RouteTable {
  readonly #exact: ReadonlyMap<string, ConfiguredRoute>;
  readonly #patterns: readonly ConfiguredRoute[];

  constructor(routes: readonly ConfiguredRoute[]) {
    this.#exact = new Map(
      routes.filter(({ model }) => !isPattern(model)).map((route) => [route.model, route]),
    );
    this.#patterns = routes
      .filter(({ model }) => isPattern(model))
      .toSorted((one, other) => bySpecificity(one.model, other.model));
  }

  get isEmpty(): boolean {
    return this.#exact.size + this.#patterns.length === 0;
  }

  /** In the order in which they are looked through. */
  get all(): readonly ConfiguredRoute[] {
    return [...this.#exact.values(), ...this.#patterns];
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
