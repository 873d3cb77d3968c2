import { LRUCache } from 'lru-cache';
import { AppError } from '../../core/errors.ts';
import type { ProviderModel, UpstreamProvider } from '../../core/provider.ts';
import { type Clock, within } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import type { LeasedAccount } from '../../pool-api/schema.ts';
import type { TurnLease } from '../../pool-api/waiting-turns.ts';
import { type LeaseCache, providerAccountOf } from '../leases/lease-cache.ts';

export interface ModelList extends ModelUnion {
  /** False while no account could be asked: then the list is a guess and unknown names may still be right. */
  readonly isProven: boolean;
}

const freshForMs = 10 * 60_000;
const retryAfterMs = 30_000;
/** A list reported as out of date is requested again, but no more often than this. */
const renewEveryMs = 60_000;
/** A turn does not wait longer than this for a list; it goes on with what is known. */
const patienceMs = 3_000;
/** One look asks no more accounts than this; the next one asks others. */
const accountsPerLook = 10;
/** What an account listed counts for so long, though later looks did not get round to it. */
const keptForMs = 60 * 60_000;
const mostKept = 200;
/** How long the second account and those after it may take to be lent. */
const nextLeaseMs = 2_000;

/** Clients cannot name a model by more characters. */
const longestId = 256;

/** What counts of one account's list. */
function usable(models: readonly ProviderModel[]): readonly ProviderModel[] {
  return models.filter(({ id }) => id.length <= longestId).slice(0, mostModels);
}

interface AccountList {
  readonly models: readonly ProviderModel[];
  readonly askedAt: number;
  /** The team it was asked for: each team has its own list. */
  readonly teamUid: string | null;
  /** What its owner lets it be used for, as far as that is known. */
  readonly only: readonly string[] | null;
}

interface Look {
  /** Some account has answered, or the look is over. */
  readonly first: Promise<void>;
  readonly done: Promise<void>;
}

interface Entry {
  list: ModelList;
  readonly refused: RefusedPairs;
  /** By account. Each keeps its place, and so do its models in the list. */
  readonly accounts: Map<string, AccountList>;
  checkAt: number;
  lookedAt: number;
  /** Answers of this moment and before are out of date. */
  staleAt: number;
  look: Look | undefined;
  /** Accounts that were removed since the look began. */
  readonly removed: Set<string>;
}

/**
 * The providers' models: each account has a list of its own, by its plan and its workspace, and what counts is their
 * union. Asked through accounts of the pool, one after another, every ten minutes while there are turns.
 */
export function createModelLists(leases: Pick<LeaseCache, 'acquire'>, clock: Clock, logger: Logger) {
  const entries = new Map<string, Entry>();

  function entryOf(provider: UpstreamProvider): Entry {
    let entry = entries.get(provider.name);
    if (!entry) {
      entry = {
        list: { models: provider.fallbackModels, withheld: [], barred: new Map(), isProven: false },
        refused: new RefusedPairs(),
        accounts: new Map(),
        checkAt: Number.NEGATIVE_INFINITY,
        lookedAt: Number.NEGATIVE_INFINITY,
        staleAt: Number.NEGATIVE_INFINITY,
        look: undefined,
        removed: new Set(),
      };
      entries.set(provider.name, entry);
    }
    return entry;
  }

  function look(provider: UpstreamProvider, entry: Entry): Look {
    if (entry.look) return entry.look;
    const first = Promise.withResolvers<void>();
    entry.lookedAt = clock.monotonic();
    entry.removed.clear();
    const done = askAccounts(provider, entry, first.resolve).then((hasAnswer) => {
      const isStaleAgain = entry.staleAt >= entry.lookedAt;
      const restMs = isStaleAgain ? renewEveryMs : hasAnswer ? freshForMs : retryAfterMs;
      entry.checkAt = (isStaleAgain ? entry.lookedAt : clock.monotonic()) + restMs;
      entry.look = undefined;
      first.resolve();
    });
    entry.look = { first: first.promise, done };
    return entry.look;
  }

  /** Asks account after account; true when one has answered. Never fails. */
  async function askAccounts(
    provider: UpstreamProvider,
    entry: Entry,
    onAnswer: () => void,
  ): Promise<boolean> {
    const passedOver = new Set<string>();
    for (const [id, { askedAt }] of entry.accounts) {
      const isFresh = askedAt > entry.staleAt && askedAt + freshForMs > clock.monotonic();
      if (isFresh) passedOver.add(id);
    }
    let hasAnswer = false;
    for (let asked = 0; asked < accountsPerLook; asked += 1) {
      let lease: TurnLease;
      try {
        lease = await leases.acquire({
          provider: provider.name,
          model: undefined,
          exclude: passedOver,
          deadline: clock.monotonic(),
          signal: AbortSignal.timeout(asked === 0 ? 10_000 : nextLeaseMs),
        });
      } catch (error) {
        // Once some have been asked, that no other account is free is the usual end.
        if (asked === 0) note(provider, error);
        break;
      }
      passedOver.add(lease.account.id);
      try {
        learn(entry, lease.account, await provider.listModels(providerAccountOf(lease.account)));
        hasAnswer = true;
        onAnswer();
      } catch (error) {
        note(provider, error);
        // No other account would reach it.
        if (error instanceof AppError && error.isUnreachable) break;
      } finally {
        lease.release();
      }
    }
    return hasAnswer;
  }

  function note(provider: UpstreamProvider, error: unknown): void {
    logger.info(
      { err: error, provider: provider.name },
      'the model list could not be had; the last one stays',
    );
  }

  function learn(entry: Entry, account: LeasedAccount, models: readonly ProviderModel[]): void {
    const { accounts, removed } = entry;
    if (removed.has(account.id)) return;
    const now = clock.monotonic();
    const { team_uid: teamUid, models: only } = account;
    accounts.set(account.id, { models: usable(models), askedAt: now, teamUid, only });
    for (const [id, { askedAt }] of accounts) {
      const isTooMany = accounts.size > mostKept && id !== account.id;
      if (isTooMany || askedAt + keptForMs <= now) accounts.delete(id);
    }
    entry.list = unite(entry);
  }

  function unite({ accounts, refused, list }: Entry): ModelList {
    const own = [...accounts].map(([id, { models }]) => [id, models] as const);
    // While no account has been asked, the list is that of no account in particular.
    const lists = new Map(own.length > 0 ? own : [['', list.models]]);
    const union = uniteModels(lists, refused.live(clock.monotonic()));
    return { ...union, isProven: list.isProven || own.length > 0 };
  }

  /** Refusals end with time. */
  function listOf(entry: Entry): ModelList {
    if (entry.refused.nextEnd <= clock.monotonic()) entry.list = unite(entry);
    return entry.list;
  }

  /** The upstream has said that its list has changed. */
  function outdated(provider: UpstreamProvider): void {
    const entry = entryOf(provider);
    entry.staleAt = clock.monotonic();
    entry.checkAt = Math.min(entry.checkAt, entry.lookedAt + renewEveryMs);
    if (entry.checkAt <= clock.monotonic()) look(provider, entry);
  }

  return {
    /** The list as far as it is known within a few seconds. Never fails. */
    async get(provider: UpstreamProvider): Promise<ModelList> {
      const entry = entryOf(provider);
      if (entry.checkAt > clock.monotonic()) return listOf(entry);
      const { first } = look(provider, entry);
      // A list that was good ten minutes ago serves while the new one is on its way.
      if (!entry.list.isProven) await within(first, clock, patienceMs);
      return listOf(entry);
    },

    /** The list as it is known now, and requested where that is due. */
    known(provider: UpstreamProvider): ModelList {
      const entry = entryOf(provider);
      if (entry.checkAt <= clock.monotonic()) look(provider, entry);
      return listOf(entry);
    },

    /** The list, requested again unless that was done within the last minute: a new account may list more. */
    async getFresh(provider: UpstreamProvider): Promise<ModelList> {
      const entry = entryOf(provider);
      if (entry.look || entry.lookedAt + renewEveryMs <= clock.monotonic()) {
        await within(look(provider, entry).done, clock, patienceMs);
      }
      return listOf(entry);
    },

    /** The upstream has said that the account may not use the model, although its list has it: others are asked. */
    refused(provider: UpstreamProvider, model: string, accountId: string): void {
      const entry = entryOf(provider);
      entry.refused.add(model, accountId, clock.monotonic());
      entry.list = unite(entry);
    },

    outdated,

    /** A turn has this account: what another team of it listed no longer counts. */
    noteTeam(provider: UpstreamProvider, { id, team_uid }: LeasedAccount): void {
      const entry = entries.get(provider.name);
      const listed = entry?.accounts.get(id);
      if (entry === undefined || listed === undefined || listed.teamUid === team_uid) return;
      entry.accounts.delete(id);
      look(provider, entry);
    },

    /** How many accounts may be used for none of the models that they have. */
    countUseless(provider: UpstreamProvider): number {
      const own = [...(entries.get(provider.name)?.accounts.values() ?? [])];
      return own.filter(({ models, only }) => only && !models.some(({ id }) => only.includes(id))).length;
    },

    /** Its owner may have changed the account, and so what it is refused and what it is used for. */
    accountChanged(accountId: string): void {
      for (const entry of entries.values()) {
        entry.refused.forget(accountId);
        const listed = entry.accounts.get(accountId);
        if (listed) entry.accounts.set(accountId, { ...listed, only: null });
        entry.list = unite(entry);
      }
    },

    /** What it listed no longer counts. Where it was the last one known, others are asked with the next turn. */
    accountRemoved(accountId: string): void {
      for (const entry of entries.values()) {
        entry.refused.forget(accountId);
        if (entry.look) entry.removed.add(accountId);
        if (entry.accounts.delete(accountId) && entry.accounts.size === 0) {
          entry.checkAt = Number.NEGATIVE_INFINITY;
        }
        entry.list = unite(entry);
      }
    },
  };
}

export type ModelLists = ReturnType<typeof createModelLists>;

/** What several accounts' own lists of models come to. */
export interface ModelUnion {
  /** Those a request may name: some account may use them, at least once something passing is over. */
  readonly models: readonly ProviderModel[];
  /** Those that every account which lists them may not use. */
  readonly withheld: readonly ProviderModel[];
  /** For models that not every account may use: the accounts not to ask. */
  readonly barred: ReadonlyMap<string, ReadonlySet<string>>;
}

/** More than any vendor has; every request looks through them. */
const mostModels = 1_000;

/** By model: accounts that list it and to which the provider has refused it. */
type RefusedModels = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * In the order of the first list, with what the others have besides at the end. An account on which a model is out for
 * the moment is barred only while another one serves it.
 */
export function uniteModels(
  lists: ReadonlyMap<string, readonly ProviderModel[]>,
  refused: RefusedModels = new Map(),
): ModelUnion {
  const best = new Map<string, ProviderModel>();
  const ranks = new Map<string, Map<string, number>>();
  for (const [accountId, models] of lists) {
    for (const listed of models) {
      const isRefused = refused.get(listed.id)?.has(accountId) === true;
      const model = isRefused ? { ...listed, withheld: refusedByProvider } : listed;
      const known = best.get(model.id);
      if (!known && best.size >= mostModels) continue;
      if (!known || rank(model) > rank(known)) best.set(model.id, model);
      const byAccount = ranks.get(model.id) ?? new Map<string, number>();
      byAccount.set(accountId, rank(model));
      ranks.set(model.id, byAccount);
    }
  }
  const barred = new Map<string, ReadonlySet<string>>();
  for (const [id, model] of best) {
    const wanted = rank(model);
    if (wanted === withheldForGood) continue;
    const without = [...lists.keys()].filter((account) => (ranks.get(id)?.get(account) ?? 0) < wanted);
    if (without.length > 0) barred.set(id, new Set(without));
  }
  for (const [id, accounts] of refused) {
    const model = best.get(id);
    if (model && rank(model) === withheldForGood) continue;
    barred.set(id, new Set([...(barred.get(id) ?? []), ...accounts]));
  }
  const all = [...best.values()];
  return {
    models: all.filter((model) => rank(model) !== withheldForGood),
    withheld: all.filter((model) => rank(model) === withheldForGood),
    barred,
  };
}

const withheldForGood = 1;
const refusedByProvider = {
  reason: 'the provider has just refused it to every account that lists it',
  isPassing: false,
};

/** Unlisted is 0. */
function rank({ withheld }: ProviderModel): number {
  if (!withheld) return 3;
  return withheld.isPassing ? 2 : withheldForGood;
}

/** A plan or a team's settings may change at any time. */
const keptMs = 10 * 60_000;
const mostPairs = 1_000;

interface Pair {
  readonly model: string;
  readonly accountId: string;
  readonly until: number;
}

/** Accounts and models that a provider refuses together, remembered for some minutes. */
export class RefusedPairs {
  readonly #pairs = new LRUCache<string, Pair>({ max: mostPairs });
  /** When one of those that were last counted ends. */
  nextEnd = Number.POSITIVE_INFINITY;

  add(model: string, accountId: string, now: number): void {
    this.#pairs.set(JSON.stringify([model, accountId]), { model, accountId, until: now + keptMs });
  }

  /** The account has changed, for example to another team. */
  forget(accountId: string): void {
    for (const [key, pair] of [...this.#pairs]) if (pair.accountId === accountId) this.#pairs.delete(key);
  }

  live(now: number): RefusedModels {
    const models = new Map<string, Set<string>>();
    this.nextEnd = Number.POSITIVE_INFINITY;
    for (const [key, { model, accountId, until }] of [...this.#pairs]) {
      if (until <= now) {
        this.#pairs.delete(key);
        continue;
      }
      this.nextEnd = Math.min(this.nextEnd, until);
      const accounts = models.get(model) ?? new Set();
      models.set(model, accounts.add(accountId));
    }
    return models;
  }
}
