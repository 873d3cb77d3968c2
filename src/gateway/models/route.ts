import type { ConfiguredCandidate, ConfiguredRoute, ModelPrice } from '../../core/configured-routes.ts';
import type { UpstreamProvider } from '../../core/provider.ts';
import type { AskedRequest } from '../../core/turn.ts';
import type { ClientKey } from '../keys/client-key.ts';
import type { Catalogue } from './catalogue.ts';
import { chooseEffort, isBlindModel } from './model-choice.ts';
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

/** The route to a model that was found, which may be another one for the request's effort. */
export function routeTo(
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
