import type { ConfiguredCandidate, ConfiguredRoute, RoutingSettings } from '../../core/configured-routes.ts';
import type { ModelPrice } from '../../core/model-profile.ts';
import type { Dialect } from '../../core/protocol.ts';
import { type ProviderModel, relayingOutbound, type UpstreamProvider } from '../../core/provider.ts';
import type { AskedRequest } from '../../core/turn.ts';
import type { Clock } from '../../lib/clock.ts';
import { judge, judgeProvider, type Readiness, type Verdict } from '../../pool-api/readiness.ts';
import type { PoolWatch } from '../leases/pool-watch.ts';
import { Catalogue } from './catalogue.ts';
import {
  bareName,
  checkVision,
  chooseEffort,
  exampleNames,
  findAlias,
  isBlindModel,
  isSandboxName,
  plainSandboxModel,
  shownOf,
} from './model-choice.ts';
import type { ModelLists } from './model-lists.ts';
import { type Found, ModelNames, type ModelNamesOptions } from './model-names.ts';
import { noCandidateTakes } from './model-refusals.ts';
import { type RequestTraits, traitsOf } from './request-traits.ts';
import { drawOrder, hindranceOf, RouteTable } from './route-table.ts';
import { conversationKey, WarmCandidates } from './warm-candidates.ts';

/** Who answers a turn, and as which of its models. */
export interface Route {
  readonly provider: UpstreamProvider;
  readonly model: string;
  /** The request's effort chose the model. */
  readonly isEffortHeard?: boolean;
  /** The model surely sees no images. */
  readonly isBlind?: boolean;
  /** Accounts whose own list lacks the model. */
  readonly barred?: ReadonlySet<string> | undefined;
  /** Its accounts carry one of these; absent: any account. */
  readonly labels?: readonly string[] | undefined;
  readonly firstContentTimeoutMs?: number | undefined;
  /** Tokens; undefined where that is not known. */
  readonly contextWindow?: number | undefined;
  /** It goes on with an answer that was begun for it. */
  readonly takesPrefill?: boolean | undefined;
  /** Undefined where that is not known. */
  readonly price?: ModelPrice | undefined;
}

/** Where a turn may go. */
export interface RoutePlan
  extends Pick<ConfiguredRoute, 'delivery' | 'firstContentTimeoutMs' | 'promptCache'> {
  /** In the order of trial, at least one. */
  readonly candidates: readonly Route[];
  /** Of a configured route: by which the turns of one conversation know where the last one was answered. */
  readonly conversation?: string | undefined;
}

/** What of a request decides where it goes. */
export type RoutedRequest = Pick<AskedRequest, 'model' | 'messages' | 'reasoning'> & Partial<AskedRequest>;

/** What else of a turn decides it. */
export interface RoutedTurn {
  readonly client: { readonly id: string };
  /** What the client keeps its session together by. */
  readonly affinityKey: string | undefined;
  /** The body of a request that was not decoded. */
  readonly decoded: { readonly relayed?: { readonly body: string } };
}

export interface RoutesOptions extends ModelNamesOptions {
  readonly routing: RoutingSettings;
  readonly models: Pick<ModelLists, 'get' | 'known' | 'getFresh' | 'countUseless'>;
  readonly poolWatch: Pick<PoolWatch, 'isReachable' | 'isSandbox' | 'accounts' | 'hasAccounts' | 'look'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly random?: () => number;
}

/** A model as clients see it. */
export interface ListedModel extends ProviderModel {
  readonly provider: string;
  /** Tokens of an answer, at most. */
  readonly maxOutput?: number;
  /** The model that a request of this name is answered by. */
  readonly aliasOf?: string;
}

const usualPlan = { delivery: 'stream', promptCache: 'auto' } as const;

/** Where the names of models lead. */
export class Routes {
  readonly #options: RoutesOptions;
  readonly #names: ModelNames;
  readonly #warm: WarmCandidates;
  #table: RouteTable;
  #catalogue: Catalogue;

  constructor(options: RoutesOptions) {
    const { routing, clock } = options;
    this.#options = options;
    this.#names = new ModelNames(options, routing.aliases);
    this.#warm = new WarmCandidates(() => clock.monotonic());
    this.#table = new RouteTable(routing.routes);
    this.#catalogue = new Catalogue(routing.models);
  }

  /** Turns that are planned from now on go by these. */
  configure({ aliases, routes, models }: RoutingSettings): void {
    this.#names.aliases = aliases;
    this.#table = new RouteTable(routes);
    this.#catalogue = new Catalogue(models);
  }

  /**
   * Every candidate for a request: those of a configured route, else the provider that its model's name means, then others that
   * list that very name. Throws AppError `model_not_found`, or `invalid_request` for what no candidate takes.
   */
  async plan(request: RoutedRequest, turn?: RoutedTurn): Promise<RoutePlan> {
    const { poolWatch, sandbox } = this.#options;
    const { model: name, messages, reasoning } = request;
    await this.#lookForFirstAccount(name);
    if (poolWatch.isSandbox) {
      const model = await this.#names.sandboxModelOf(name);
      return { candidates: [{ provider: sandbox, model }], ...usualPlan };
    }
    const configured = this.#configuredFor(name);
    if (configured) return this.#planFor(configured, request, turn);
    const first = await this.#names.lookUp(name, reasoning.effort);
    const others = this.#names.othersWith(name, first.provider);
    const candidates = [first, ...others].map((found) => this.#routeTo(found, reasoning.effort));
    if (candidates.every(({ isBlind }) => isBlind)) checkVision(first.list.models, first.model, messages);
    return { candidates, ...usualPlan };
  }

  /**
   * Further candidates when no account of those that were `tried` could be had: by now the pool may have accounts of other
   * providers. Throws as `plan` does.
   */
  async after(tried: readonly Route[], request: RoutedRequest, turn?: RoutedTurn): Promise<readonly Route[]> {
    await this.#options.poolWatch.look();
    const { candidates } = await this.plan(request, turn);
    return candidates.filter(({ provider }) => tried.every((route) => route.provider !== provider));
  }

  /** The conversation's next turn goes there first while its prompt is cached there. */
  answered({ conversation }: RoutePlan, { provider, model }: Route): void {
    if (conversation !== undefined) this.#warm.note(conversation, `${provider.name}/${model}`);
  }

  /** The configured route of a name, or of what an alias makes of it. A name that says who is meant has none. */
  #configuredFor(name: string): { readonly route: ConfiguredRoute; readonly name: string } | undefined {
    const exact = this.#table.exact(name);
    if (exact) return { route: exact, name };
    if (this.#names.addressOf(name).isNamed) return undefined;
    const alias = findAlias(this.#names.aliases, name);
    const isExactAlias = Object.hasOwn(this.#names.aliases, name);
    const pattern = isExactAlias ? undefined : this.#table.find(name);
    if (pattern) return { route: pattern, name };
    const target = alias === undefined ? undefined : this.#table.find(alias);
    return alias === undefined || !target ? undefined : { route: target, name: alias };
  }

  async #planFor(
    { route, name }: { readonly route: ConfiguredRoute; readonly name: string },
    request: RoutedRequest,
    turn: RoutedTurn | undefined,
  ): Promise<RoutePlan> {
    const { delivery, firstContentTimeoutMs, promptCache } = route;
    let read: RequestTraits | undefined;
    const traits = () => {
      read ??= traitsOf(turn?.decoded.relayed?.body ?? request);
      return read;
    };
    const fitting = route.candidates.filter((candidate) => hindranceOf(candidate, traits) === undefined);
    if (fitting.length === 0) throw noCandidateTakes(request.model, route, traits());
    const drawn = drawOrder(fitting, this.#options.random ?? Math.random);
    const found = await Promise.all(drawn.map((candidate) => this.#foundFor(candidate, name, request)));
    const known = found.filter(({ isUnknown }) => !isUnknown);
    const [first, ...others] = known.length > 0 ? known : found;
    const all = [first, ...others].flatMap((one) =>
      one ? [{ ...this.#routeTo(one, request.reasoning.effort), ...one.more }] : [],
    );
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

  #warmFirst(candidates: readonly Route[], conversation: string): readonly Route[] {
    const warm = this.#warm.find(conversation);
    const isWarm = ({ provider, model }: Route) => `${provider.name}/${model}` === warm;
    return [...candidates.filter(isWarm), ...candidates.filter((route) => !isWarm(route))];
  }

  async #foundFor(candidate: ConfiguredCandidate, name: string, { reasoning }: RoutedRequest) {
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
      more: { labels: labels.length > 0 ? labels : undefined, firstContentTimeoutMs },
    };
  }

  /**
   * For calls that begin no turn: where unknown names are refused, the first candidate for this one, else undefined. Throws as
   * `plan` does.
   */
  async check(model: string | null | undefined): Promise<Route | undefined> {
    if (!this.#options.isStrict || !model) return undefined;
    const { candidates } = await this.plan({ model, messages: [], reasoning: {} });
    return candidates[0];
  }

  /** Names of the providers with accounts that take requests of this dialect as they are. */
  serving(dialect: Dialect): string[] {
    const { providers, poolWatch } = this.#options;
    return providers
      .filter(
        (provider) =>
          poolWatch.hasAccounts(provider.name) === true && relayingOutbound(provider, { dialect }),
      )
      .map(({ name }) => name);
  }

  /** How many accounts of it may be lent, as far as the pool has told. */
  openAccounts({ name }: UpstreamProvider): number {
    return this.#options.poolWatch.accounts?.[name]?.['open'] ?? 0;
  }

  /** Whether some account can answer any turn at all, and then a turn to this provider; undefined while that is not known. */
  judge(provider?: UpstreamProvider): Verdict | undefined {
    const { poolWatch, providers } = this.#options;
    if (poolWatch.accounts === undefined) return undefined;
    const accounts = this.#withUselessLimits(poolWatch.accounts);
    const names = providers.map(({ name }) => name);
    const verdict = judge(accounts, names);
    return verdict.isReady && provider ? judgeProvider(accounts, provider.name) : verdict;
  }

  /** Every model a client may name: those of the providers with accounts, configured routes and aliases. */
  async list(): Promise<readonly ListedModel[]> {
    const { poolWatch, providers, sandbox, models, isStrict } = this.#options;
    if (poolWatch.isSandbox) {
      const { models: known } = await models.get(sandbox);
      const listed = shownOf(known).map((model) => ({ ...model, provider: sandbox.name }));
      const [plain] = listed;
      const examples = isStrict ? [] : exampleNames;
      return [...listed, ...examples.map((name) => aliasOf(plain, name, plainSandboxModel, sandbox.name))];
    }
    const present = this.#names.inService();
    const listed = new Map<string, ListedModel>();
    for (const provider of present.length === 0 ? [providers[0]] : present) {
      for (const model of (await models.get(provider)).models) {
        const shown = this.#shown(provider, model);
        listed.set(shown.id, shown);
      }
    }
    for (const route of this.#table.named) {
      const lead = this.#leadOf(route, route.model);
      listed.set(route.model, aliasOf(listed.get(lead.id) ?? lead, route.model, lead.id, lead.provider));
    }
    for (const [name, target] of Object.entries(this.#names.aliases)) {
      if (!name.endsWith('*') && !listed.has(name)) {
        const { provider, model } = this.#names.addressOf(target);
        const shown = this.#names.shownName(provider, model);
        listed.set(name, aliasOf(listed.get(shown), name, shown, provider.name));
      }
    }
    return [...listed.values()];
  }

  /** The model of that name: one that is listed, or what a request of that name would get. Throws `model_not_found`. */
  async find(id: string): Promise<ListedModel> {
    const { poolWatch, sandbox, models } = this.#options;
    const listed = await this.list();
    const named = listed.find((model) => model.id === id);
    if (named) return named;
    // A name that would be answered exists, listed or not.
    if (poolWatch.isSandbox) {
      const model = await this.#names.sandboxModelOf(id);
      const { models: known } = await models.get(sandbox);
      const shown = { id: model, ...known.find((one) => one.id === model), provider: sandbox.name };
      return model === id ? shown : aliasOf(shown, id, model, sandbox.name);
    }
    const configured = this.#configuredFor(id);
    if (configured) {
      const lead = this.#leadOf(configured.route, configured.name);
      return aliasOf(listed.find((one) => one.id === lead.id) ?? lead, id, lead.id, lead.provider);
    }
    const { provider, model } = await this.#names.lookUp(id);
    const shown = this.#names.shownName(provider, model);
    if (shown === id) return { id, provider: provider.name };
    const known = listed.find((one) => one.id === shown);
    return aliasOf(known, id, shown, provider.name);
  }

  /** The first account of all may have come just now. */
  async #lookForFirstAccount(name: string): Promise<void> {
    const { poolWatch } = this.#options;
    const isEmpty = poolWatch.isSandbox
      ? !isSandboxName(bareName(name))
      : this.#names.inService().length === 0;
    if (isEmpty && poolWatch.isReachable) await poolWatch.look();
  }

  #routeTo({ provider, list, model: found, isPinned }: Found, effort: string | undefined): Route {
    const pinned = isPinned ? list.models.filter(({ id }) => id === found) : [];
    const choices = pinned.length > 0 ? pinned : list.models;
    const { model, isEffortHeard } = chooseEffort(choices, found, effort);
    const listed = list.models.find(({ id }) => id === model);
    const { contextWindow, prefill, price } = this.#catalogue.profileOf(provider, model, listed);
    return {
      provider,
      model,
      isEffortHeard,
      isBlind: isBlindModel(list.models, model),
      barred: list.barred.get(model),
      contextWindow,
      takesPrefill: prefill,
      price,
    };
  }

  /** A model as clients see it, with what is known of it. */
  #shown(provider: UpstreamProvider, model: ProviderModel): ListedModel {
    const { contextWindow, maxOutput, vision } = this.#catalogue.profileOf(provider, model.id, model);
    return {
      ...model,
      id: this.#names.shownName(provider, model.id),
      provider: provider.name,
      ...(contextWindow !== undefined && { contextWindow }),
      ...(maxOutput !== undefined && { maxOutput }),
      ...(vision !== undefined && { hasVision: vision }),
    };
  }

  /** What a route leads to first, as clients see it. */
  #leadOf({ candidates }: ConfiguredRoute, name: string): ListedModel {
    const { providers } = this.#options;
    const lead = candidates.reduce((first, one) => (one.tier < first.tier ? one : first));
    const provider = providers.find((one) => one.name === lead.provider) ?? providers[0];
    return this.#shown(provider, { id: lead.model === '*' ? name : lead.model });
  }

  /** Where every open account is limited to some models, with those that have none of these counted as what they are. */
  #withUselessLimits(known: Readiness): Readiness {
    const { providers, models } = this.#options;
    const accounts = { ...known };
    for (const provider of providers) {
      const { open = 0, open_for_models: limited = 0, ...others } = known[provider.name] ?? {};
      if (open > 0 || limited === 0) continue;
      // Asks for the list only when it is due, and not at every call.
      void models.get(provider);
      const useless = models.countUseless(provider);
      if (useless >= limited) accounts[provider.name] = { ...others, useless_models: limited };
    }
    return accounts;
  }
}

function aliasOf(
  model: ListedModel | undefined,
  name: string,
  target: string,
  provider: string,
): ListedModel {
  return { provider, ...model, id: name, aliasOf: model?.aliasOf ?? target };
}

/** The session that the client names, or what was said first. */
function conversationOf(
  { model }: ConfiguredRoute,
  { client, affinityKey }: RoutedTurn,
  traits: () => RequestTraits,
) {
  if (affinityKey !== undefined)
    return { key: conversationKey(client.id, model, affinityKey, ''), isGoingOn: true };
  const { opening, isAnswered } = traits();
  if (opening === undefined) return undefined;
  return { key: conversationKey(client.id, model, '', opening), isGoingOn: isAnswered };
}
