// What the sandbox knows about each bearer: the scenario its key asks for and its credits.
import { createBoundedMap } from './bounded-map.ts';

export interface Credits {
  limit: number;
  used: number;
  nextRefreshTime?: Date;
  isUnlimited?: boolean;
}

/** The server's own answer to whether a chat may be begun. */
export interface Availability {
  available: boolean;
  denialReason:
    | 'NONE'
    | 'OUT_OF_CREDITS'
    | 'DELINQUENT'
    | 'ENTERPRISE_TEAM_SPEND_LIMIT_HIT'
    | 'ENTERPRISE_PER_USER_SPEND_LIMIT_HIT'
    | 'ENTERPRISE_WORKSPACE_SPEND_LIMIT_HIT';
  creditSource: 'BASE_LIMIT' | 'BONUS_GRANT' | 'PAYG' | 'OVERAGE' | null;
}

/** A bearer that was minted for an account that logs in counts as that account: its id stands where a key does. */
export interface Accounts {
  setKeyScenario(bearer: string, scenario: string | undefined): void;
  /** The teams of an account by their uids, the first being billed where none is named. A team is known to the other
   *  methods by its uid, as an account is by its key. */
  setTeams(bearer: string, teams: readonly string[] | undefined): void;
  teams(bearer: string): readonly string[];
  /** Whose credits a call uses that names this team, or none: a team's where the account has one, else its own. */
  billed(bearer: string, team: string | undefined): string;
  setCredits(bearer: string, credits: Credits | undefined): void;
  /** The scenario set for this bearer, else the part of the key behind its first dot. */
  scenarioWish(bearer: string): string | undefined;
  credits(bearer: string): Required<Credits>;
  setAvailability(bearer: string, availability: Availability | undefined): void;
  availability(bearer: string): Availability;
  /** True when `setCredits` or `setAvailability` left nothing: chat is then refused as with the scenario `spent`. */
  isSpent(bearer: string): boolean;
  charge(bearer: string, credits: number): void;
}

const DAY_MS = 24 * 60 * 60 * 1_000;
const keptAccounts = 10_000;
const defaultLimit = 100_000;

/** `startedAt` anchors the refresh times, so that they stay the same while the sandbox runs. */
export function createAccounts(startedAt: Date): Accounts {
  const wishes = createBoundedMap<string>(keptAccounts);
  const teams = createBoundedMap<readonly string[]>(keptAccounts);
  const fixed = createBoundedMap<Credits>(keptAccounts);
  const used = createBoundedMap<number>(keptAccounts);
  const said = createBoundedMap<Availability>(keptAccounts);
  const nextWeek = new Date(startedAt.getTime() + 7 * DAY_MS);

  const wishOf = (bearer: string): string | undefined => {
    const dot = bearer.indexOf('.');
    return wishes.get(bearer) ?? (bearer.startsWith('wk-') && dot > 0 ? bearer.slice(dot + 1) : undefined);
  };
  const creditsOf = (bearer: string): Required<Credits> => {
    const own = fixed.get(bearer);
    if (own) return { nextRefreshTime: nextWeek, isUnlimited: false, ...own };
    if (wishOf(bearer) === 'spent') {
      const inThreeDays = new Date(startedAt.getTime() + 3 * DAY_MS);
      return { limit: 150, used: 150, nextRefreshTime: inThreeDays, isUnlimited: false };
    }
    // Never runs out by itself: a long measurement must not end in a quota error.
    const usedNow = Math.min(used.get(bearer) ?? 0, defaultLimit - 1);
    return { limit: defaultLimit, used: usedNow, nextRefreshTime: nextWeek, isUnlimited: false };
  };

  return {
    setKeyScenario(bearer, scenario) {
      if (scenario === undefined) wishes.delete(bearer);
      else wishes.set(bearer, scenario);
    },
    setTeams(bearer, list) {
      if (list === undefined) teams.delete(bearer);
      else teams.set(bearer, [...list]);
    },
    teams: (bearer) => teams.get(bearer) ?? [],
    billed(bearer, team) {
      const own = teams.get(bearer) ?? [];
      return (team !== undefined && own.includes(team) ? team : own[0]) ?? bearer;
    },
    setCredits(bearer, credits) {
      if (credits === undefined) fixed.delete(bearer);
      else fixed.set(bearer, { ...credits });
    },
    scenarioWish: wishOf,
    credits: creditsOf,
    setAvailability(bearer, availability) {
      if (availability === undefined) said.delete(bearer);
      else said.set(bearer, { ...availability });
    },
    availability(bearer) {
      const own = said.get(bearer);
      if (own) return own;
      const { limit, used: usedNow, isUnlimited } = creditsOf(bearer);
      return isUnlimited || usedNow < limit
        ? { available: true, denialReason: 'NONE', creditSource: 'BASE_LIMIT' }
        : { available: false, denialReason: 'OUT_OF_CREDITS', creditSource: null };
    },
    isSpent(bearer) {
      const availability = said.get(bearer);
      if (availability) return !availability.available;
      const own = fixed.get(bearer);
      return own !== undefined && !own.isUnlimited && own.used >= own.limit;
    },
    charge(bearer, credits) {
      const own = fixed.get(bearer);
      if (own) own.used += credits;
      else used.set(bearer, (used.get(bearer) ?? 0) + credits);
    },
  };
}
