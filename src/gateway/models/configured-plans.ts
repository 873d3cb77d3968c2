import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ConfiguredCandidate, ConfiguredRoute, RoutingSettings } from '../../core/configured-routes.ts';
import { AppError } from '../../core/errors.ts';
import { atMost } from '../../lib/at-most.ts';
import { isJsonObject, type JsonObject, parseJson } from '../../lib/parse-json.ts';
import type { Catalogue } from './catalogue.ts';
import { type KeyReach, reachOf } from './key-reach.ts';
import { bySpecificity, checkVision, findAlias, isPattern, matches } from './model-choice.ts';
import type { Found, ModelNames } from './model-names.ts';
import { type Route, type RoutedRequest, type RoutedTurn, type RoutePlan, routeTo } from './route.ts';
import type { RoutesOptions } from './routing.ts';

const mostConversations = 10_000;
/** For so long after its last answer a conversation goes where that came from: there its prompt is cached. */
const warmMs = 5 * 60_000;

/** A configured route, and the name that a request means by it. */
export interface Match {
  readonly route: ConfiguredRoute;
  readonly name: string;
}

/** What a candidate leads to. */
interface FoundCandidate extends Found {
  readonly isPinned: boolean;
  readonly isUnknown: boolean;
  readonly more: Pick<Route, 'labels' | 'firstContentTimeoutMs' | 'configured'>;
}

/** A candidate that takes no such request, does not have the model, or is not for the client's key. */
export interface PassedOver {
  readonly candidate: ConfiguredCandidate;
  readonly reason: 'tools' | 'images' | 'context' | 'unknown' | 'blind' | 'key';
}

/** The configured routes: which of them a name means, and where its turns go. */
export class ConfiguredPlans {
  readonly #options: RoutesOptions;
  readonly #names: ModelNames;
  /** Which candidate answered a conversation last, as `provider/model`. */
  readonly #warm: LRUCache<string, string>;
  table: RouteTable;
  #catalogue: Catalogue;

  constructor(options: RoutesOptions, names: ModelNames, catalogue: Catalogue) {
    const { routing, clock } = options;
    this.#options = options;
    this.#names = names;
    const perf = { now: () => clock.monotonic() };
    this.#warm = new LRUCache({ ...atMost(mostConversations), ttl: warmMs, ttlResolution: 0, perf });
    this.table = new RouteTable(routing.routes);
    this.#catalogue = catalogue;
  }

  configure(routes: RoutingSettings['routes'], catalogue: Catalogue): void {
    this.table = new RouteTable(routes);
    this.#catalogue = catalogue;
  }

  /** The configured route of a name, or of what an alias makes of it. A name that says who is meant has none. */
  find(name: string): Match | undefined {
    if (this.table.isEmpty) return undefined;
    const exact = this.table.exact(name);
    if (exact) return { route: exact, name };
    if (this.#names.namedBy(name)) return undefined;
    const alias = findAlias(this.#names.aliases, name);
    const isExactAlias = Object.hasOwn(this.#names.aliases, name);
    const pattern = isExactAlias ? undefined : this.table.find(name);
    if (pattern) return { route: pattern, name };
    const target = alias === undefined ? undefined : this.table.find(alias);
    return alias === undefined || !target ? undefined : { route: target, name: alias };
  }

  async plan(
    { route, name }: Match,
    request: RoutedRequest,
    turn: RoutedTurn | undefined,
    random = this.#options.random ?? Math.random,
  ): Promise<RoutePlan> {
    const { delivery, firstContentTimeoutMs, promptCache } = route;
    let read: RequestTraits | undefined;
    const traits = () => {
      read ??= traitsOf(turn?.body ?? turn?.decoded.relayed?.body ?? request);
      return read;
    };
    const fitting = route.candidates.filter((candidate) => hindranceOf(candidate, traits) === undefined);
    if (fitting.length === 0) throw noCandidateTakes(request.model, route, traits());
    const drawn = drawOrder(fitting, random);
    const found = await Promise.all(drawn.map((candidate) => this.#foundFor(candidate, name, request)));
    const known = found.filter(({ isUnknown }) => !isUnknown);
    const [first, ...others] = known.length > 0 ? known : found;
    const reach = reachOf(turn?.client);
    const all = [first, ...others].flatMap((one) => (one ? this.#routesFor(one, name, request, reach) : []));
    if (reach && all.length === 0) throw reach.refusal(request.model);
    if (first && all.every(({ isBlind }) => isBlind))
      checkVision(first.list.models, first.model, request.messages);
    const able =
      all.some(({ isBlind }) => isBlind) && traits().hasImages ? all.filter(({ isBlind }) => !isBlind) : all;
    const candidates = able.length > 0 ? able : all;
    const conversation = candidates.length > 1 && turn ? conversationOf(route, turn, traits) : undefined;
    return {
      candidates: conversation?.isGoingOn ? this.#warmFirst(candidates, conversation.key) : candidates,
      conversation: conversation?.key,
      delivery,
      firstContentTimeoutMs,
      promptCache,
    };
  }

  /** The candidates of the route that its plan leaves out; undefined: there is no plan. */
  async passedOver(
    { route, name }: Match,
    request: RoutedRequest,
    turn: RoutedTurn | undefined,
    plan: RoutePlan | undefined,
  ): Promise<readonly PassedOver[]> {
    const planned = new Set(plan?.candidates.map(({ configured }) => configured));
    const traits = () => traitsOf(turn?.body ?? turn?.decoded.relayed?.body ?? request);
    const reach = reachOf(turn?.client);
    const left = route.candidates.filter((candidate) => !planned.has(candidate));
    return await Promise.all(
      left.map(async (candidate) => {
        const hindrance = hindranceOf(candidate, traits);
        if (hindrance) return { candidate, reason: hindrance };
        const found = await this.#foundFor(candidate, name, request);
        if (this.#routesFor(found, name, request, reach).length === 0) return { candidate, reason: 'key' };
        return { candidate, reason: found.isUnknown ? 'unknown' : 'blind' };
      }),
    );
  }

  /** The conversation's next turn goes there first while its prompt is cached there. */
  answered({ conversation }: RoutePlan, { provider, model }: Route): void {
    if (conversation !== undefined) this.#warm.set(conversation, `${provider.name}/${model}`);
  }

  #warmFirst(candidates: readonly Route[], conversation: string): readonly Route[] {
    const warm = this.#warm.get(conversation);
    const isWarm = ({ provider, model }: Route) => `${provider.name}/${model}` === warm;
    return [...candidates.filter(isWarm), ...candidates.filter((route) => !isWarm(route))];
  }

  /** The route to what was found; none where the key may not take it. */
  #routesFor(
    found: FoundCandidate,
    name: string,
    request: RoutedRequest,
    reach: KeyReach | undefined,
  ): readonly Route[] {
    const { model, isPinned, more } = found;
    const route: Route = { ...routeTo(found, request.reasoning.effort, this.#catalogue), ...more };
    return reach?.narrowed(route, isPinned ? [model, request.model, name] : [model]) ?? [route];
  }

  async #foundFor(
    candidate: ConfiguredCandidate,
    name: string,
    { reasoning }: RoutedRequest,
  ): Promise<FoundCandidate> {
    const { providers, models } = this.#options;
    const provider = providers.find((one) => one.name === candidate.provider);
    if (!provider) throw new Error(`A route names the provider ${candidate.provider}, which there is not.`);
    const isAsAsked = candidate.model === '*';
    const model = isAsAsked ? name : candidate.model;
    // Only where a name may mean another model is its list worth waiting for.
    const list = provider.isFoundByList ? models.known(provider) : await models.get(provider);
    const target = this.#names.modelAt(provider, model, list, reasoning.effort);
    const { labels, firstContentTimeoutMs } = candidate;
    return {
      provider,
      list,
      model: target ?? model,
      isPinned: !isAsAsked,
      isUnknown: isAsAsked && list.isProven && target === undefined,
      more: { labels: labels.length > 0 ? labels : undefined, firstContentTimeoutMs, configured: candidate },
    };
  }
}

/** The session that the client names, or what was said first. */
function conversationOf(
  { model }: ConfiguredRoute,
  { client, affinityKey }: RoutedTurn,
  traits: () => RequestTraits,
) {
  const { opening, isAnswered } = affinityKey === undefined ? traits() : { opening: '', isAnswered: true };
  if (opening === undefined) return undefined;
  const parts = [client.id, model, affinityKey ?? '', opening];
  return { key: hash('sha256', JSON.stringify(parts), 'base64url'), isGoingOn: isAnswered };
}

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

/** No candidate of a configured route takes such a request. */
function noCandidateTakes(name: string, { candidates }: ConfiguredRoute, traits: RequestTraits): AppError {
  const hindrances = new Set(candidates.map((candidate) => hindranceOf(candidate, () => traits)));
  if (hindrances.has('context') && hindrances.size === 1) {
    const message = `The prompt is too long: it has about ${traits.tokens} tokens, more than any candidate of "${name}" takes. Shorten it.`;
    return new AppError('context_too_long', message);
  }
  const words = {
    tools: traits.hasTools ? 'with tools' : 'without tools',
    images: traits.hasImages ? 'with images' : 'without images',
    context: `of about ${traits.tokens} tokens`,
  };
  const such = [...hindrances].flatMap((one) => (one ? [words[one]] : []));
  const message = `The route "${name}" takes no request ${such.join(', or ')}: choose another model, or change the conditions of its candidates.`;
  return new AppError('invalid_request', message, { param: 'model' });
}

/** What configured routes judge a request by. */
export interface RequestTraits {
  readonly hasTools: boolean;
  readonly hasImages: boolean;
  /** Estimated by the length of its texts. */
  readonly tokens: number;
  /** A digest of what its conversation began with; undefined where that is not text. */
  readonly opening: string | undefined;
  /** The model has answered in its conversation before. */
  readonly isAnswered: boolean;
}

const bytesOfToken = 4;
/** What vendors count for an image, roughly. */
const tokensOfImage = 1_000;
const longestOpening = 8_192;

/** Of a decoded request, or of the body of one that is passed on as it is, whatever its dialect: as text or parsed. */
export function traitsOf(request: unknown): RequestTraits {
  const body = typeof request === 'string' ? parseJson(request) : request;
  const { tools, messages, contents, input } = isJsonObject(body) ? body : ({} as JsonObject);
  const found = { bytes: 0, images: 0 };
  measure(body, undefined, found);
  return {
    hasTools: Array.isArray(tools) && tools.length > 0,
    hasImages: found.images > 0,
    tokens: Math.ceil(found.bytes / bytesOfToken) + found.images * tokensOfImage,
    ...beginningOf([messages ?? contents ?? input].flat().map(asMessage).filter(isJsonObject)),
  };
}

const imageTypes: ReadonlySet<unknown> = new Set(['image', 'image-url', 'image_url', 'input_image']);
/** Fields that hold no text. */
const files: ReadonlySet<string | undefined> = new Set([
  'data',
  'url',
  'image_url',
  'file_data',
  'encrypted_content',
  'signature',
]);

function measure(value: unknown, field: string | undefined, found: { bytes: number; images: number }): void {
  if (typeof value === 'string') {
    if (!files.has(field)) found.bytes += Buffer.byteLength(value);
  } else if (Array.isArray(value)) {
    for (const item of value) measure(item, field, found);
  } else if (isJsonObject(value)) {
    const mediaType = value['mimeType'] ?? value['mime_type'];
    const isInlineImage = typeof mediaType === 'string' && mediaType.startsWith('image/');
    if (imageTypes.has(value['type']) || isInlineImage) found.images += 1;
    for (const [name, inner] of Object.entries(value)) {
      found.bytes += name.length;
      measure(inner, name, found);
    }
  }
}

/** A text alone is the user's, as is what a client of Gemini's sends without a role. */
function asMessage(item: unknown): unknown {
  if (typeof item === 'string') return { role: 'user', content: item };
  const isWithoutRole = isJsonObject(item) && item['role'] === undefined && item['parts'] !== undefined;
  return isWithoutRole ? { ...item, role: 'user' } : item;
}

function beginningOf(messages: readonly JsonObject[]): Pick<RequestTraits, 'opening' | 'isAnswered'> {
  const answer = messages.findIndex(({ role }) => role === 'assistant' || role === 'model');
  const isAnswered = answer !== -1;
  const first = isAnswered ? messages.slice(0, answer) : messages;
  const said = first.filter(({ role }) => role === 'user').map(textIn);
  const text = said.join('\n').slice(0, longestOpening);
  return { opening: text === '' ? undefined : hash('sha256', text, 'base64url'), isAnswered };
}

/** Texts alone: what is marked for the cache changes from turn to turn. */
function textIn(value: unknown): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.map(textIn).join('\n');
  return isJsonObject(value) ? textIn(value['text'] ?? value['content'] ?? value['parts']) : '';
}
