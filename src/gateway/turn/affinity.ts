import { hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { LRUCache } from 'lru-cache';
import { atMost } from '../../lib/at-most.ts';

/** Headers by which clients name their session, the first one wins. */
const keyHeaders = [
  'x-session-id',
  'x-session-affinity',
  'session_id',
  'session-id',
  'x-claude-code-session-id',
];

const mostSessions = 10_000;
const mostAccounts = 10_000;
const idleMs = 60 * 60_000;
/** How long another account replaces the session's own before that is tried again. */
const replacedMs = 60_000;
/** After so long the session's own account is given up for its replacement. */
const movedAfterMs = 10 * 60_000;

/** What the last turn counts in the mean latency. */
const weight = 0.4;
/** One long thought says nothing of an account. */
const leastTurns = 2;
/** An account of which nothing was heard for so long has a new chance. */
const forgottenAfterMs = 10 * 60_000;

interface Bond {
  readonly home: string;
  readonly usedAt: number;
  readonly replacement?: { readonly accountId: string; readonly since: number; readonly until: number };
}

export interface Session {
  /** The account to prefer now; it yields to whatever else speaks against it. */
  preferred(): string | undefined;
  /**
   * Who answered a turn of the session. `sought`: the preference was asked for and this is what came of it; `full`: it was
   * there and had no place; `remembered`: the turn went where its conversation was.
   */
  answeredBy(accountId: string, how: 'sought' | 'full' | 'remembered'): void;
}

/** The session's name as an upstream may see it. */
export function cacheKeyOf(clientId: string, key: string): string {
  return hash('sha256', JSON.stringify([clientId, key]), 'base64url');
}

/**
 * Which account new conversations of a client's session go to. A session's key only ever chooses an account: what is
 * said stays apart by its own history, a remembered conversation goes where it is remembered, and no account is barred.
 */
export class Affinity {
  readonly #now: () => number;
  readonly #bonds = new LRUCache<string, Bond>(atMost(mostSessions));
  readonly latency: AccountLatency;

  constructor(now: () => number, slowFirstContentMs: number) {
    this.#now = now;
    this.latency = new AccountLatency(now, slowFirstContentMs);
  }

  sessionOf(clientId: string, provider: string, key: string): Session {
    const name = hash('sha256', JSON.stringify([clientId, provider, key]), 'base64url');
    const bondOf = (): Bond | undefined => {
      const bond = this.#bonds.get(name);
      return bond && this.#now() - bond.usedAt < idleMs ? bond : undefined;
    };
    return {
      preferred: () => {
        const bond = bondOf();
        if (!bond) return undefined;
        const { home, replacement } = bond;
        const wanted = replacement && this.#now() < replacement.until ? replacement.accountId : home;
        return this.latency.isSlow(wanted) ? undefined : wanted;
      },
      answeredBy: (accountId, how) => {
        const bond = bondOf();
        const usedAt = this.#now();
        if (!bond || (how === 'sought' && accountId === bond.home)) {
          this.#bonds.set(name, { home: accountId, usedAt });
        } else
          this.#bonds.set(name, how === 'sought' ? replaced(bond, accountId, usedAt) : { ...bond, usedAt });
      },
    };
  }
}

/** Another account has answered: once, or for good where the session's own has been unavailable for long. */
function replaced({ home, replacement }: Bond, accountId: string, at: number): Bond {
  const since = replacement?.since ?? at;
  if (at - since >= movedAfterMs) return { home: accountId, usedAt: at };
  const isOver = replacement === undefined || at >= replacement.until || replacement.accountId !== accountId;
  const until = isOver ? at + replacedMs : replacement.until;
  return { home, usedAt: at, replacement: { accountId, since, until } };
}

/** How long accounts take lately until the first content of an answer. */
class AccountLatency {
  readonly #now: () => number;
  readonly #limitMs: number;
  readonly #means = new LRUCache<string, { meanMs: number; turns: number; at: number }>(atMost(mostAccounts));

  /** `limitMs` 0: no account is slow. */
  constructor(now: () => number, limitMs: number) {
    this.#now = now;
    this.#limitMs = limitMs;
  }

  note(accountId: string, firstContentMs: number): void {
    if (this.#limitMs === 0) return;
    const { meanMs, turns } = this.#known(accountId) ?? { meanMs: firstContentMs, turns: 0 };
    this.#means.set(accountId, {
      meanMs: meanMs + weight * (firstContentMs - meanMs),
      turns: turns + 1,
      at: this.#now(),
    });
  }

  /** Over the limit more than once, not long ago. */
  isSlow(accountId: string): boolean {
    const known = this.#known(accountId);
    return known !== undefined && known.turns >= leastTurns && known.meanMs > this.#limitMs;
  }

  #known(accountId: string) {
    const known = this.#means.get(accountId);
    return known && this.#now() - known.at < forgottenAfterMs ? known : undefined;
  }
}

/** What names a turn's session in its headers. */
export function affinityKeyOf(headers: IncomingHttpHeaders): string | undefined {
  for (const name of keyHeaders) {
    const value = headers[name];
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}
