import type { ConfiguredCandidate, ConfiguredRoute, ModelPrice } from '../../core/configured-routes.ts';
import type { UpstreamProvider } from '../../core/provider.ts';
import type { AskedRequest } from '../../core/turn.ts';
import type { ClientKey } from '../keys/client-key.ts';
import type { Catalogue } from './catalogue.ts';
import { chooseEffort, isBlindModel } from './model-choice.ts';
import type { ModelList } from './model-lists.ts';
import type { Found } from './model-names.ts';

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
  /** As the configuration file has it; absent where no route of it leads here. */
  readonly configured?: ConfiguredCandidate;
  /** Tokens; undefined where that is not known. */
  readonly contextWindow?: number | undefined;
  /** Tokens of an answer at most, as the configuration file says. */
  readonly ownMaxOutput?: number | undefined;
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
  readonly client: ClientKey;
  /** What the client keeps its session together by. */
  readonly affinityKey: string | undefined;
  /** The body of a request that was not decoded. */
  readonly decoded: { readonly relayed?: { readonly body: string } };
  /** The same, where it is parsed already. */
  readonly body?: unknown;
}

/** What was worked out for a list, by a catalogue: both are replaced where anything of them changes. */
const knownIn = new WeakMap<ModelList, { catalogue: Catalogue; routes: Map<string, Route> }>();
const mostKnown = 1_000;
/** Clients write efforts and may write much: what no upstream means by one is worked out each time. */
const longestKnownEffort = 64;

/** The route to a model that was found, which may be another one for the request's effort. */
export function routeTo(found: Found, effort: string | undefined, catalogue: Catalogue): Route {
  let known = knownIn.get(found.list);
  if (known?.catalogue !== catalogue) {
    known = { catalogue, routes: new Map() };
    knownIn.set(found.list, known);
  }
  if (effort !== undefined && effort.length > longestKnownEffort) return workOut(found, effort, catalogue);
  // The effort's length keeps the parts apart: no effort that a client writes can lead to the route of another model.
  const name = `${found.provider.name}\n${found.isPinned}\n${effort?.length}\n${effort}\n${found.model}`;
  let route = known.routes.get(name);
  if (!route) {
    route = workOut(found, effort, catalogue);
    if (known.routes.size >= mostKnown) known.routes.clear();
    known.routes.set(name, route);
  }
  return route;
}

function workOut(
  { provider, list, model: found, isPinned }: Found,
  effort: string | undefined,
  catalogue: Catalogue,
): Route {
  const pinned = isPinned ? list.models.filter(({ id }) => id === found) : [];
  const choices = pinned.length > 0 ? pinned : list.models;
  const { model, isEffortHeard } = chooseEffort(choices, found, effort);
  const listed = list.models.find(({ id }) => id === model);
  const { contextWindow, prefill, price } = catalogue.profileOf(provider, model, listed);
  return {
    provider,
    model,
    isEffortHeard,
    isBlind: isBlindModel(list.models, model),
    barred: list.barred.get(model),
    contextWindow,
    ownMaxOutput: catalogue.ownMaxOutput(provider, model),
    takesPrefill: prefill,
    price,
  };
}
