import { hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { LRUCache } from 'lru-cache';
import { type AccountPace, createAccountPace } from './account-pace.ts';

/**
 * Which account new conversations of a client's session go to. A session's key only ever chooses an account: what is
 * said stays apart by its own history, a remembered conversation goes where it is remembered, and no account is barred.
 */
export interface Affinity {
  sessionOf(clientId: string, provider: string, key: string): Session;
  readonly pace: AccountPace;
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

/** Headers by which clients name their session, the first one wins. */
const keyHeaders = [
  'x-session-id',
  'x-session-affinity',
  'session_id',
  'session-id',
  'x-claude-code-session-id',
];

const mostSessions = 10_000;
const idleMs = 60 * 60_000;
/** How long another account stands in before the session's own is tried again. */
const standInMs = 60_000;
/** Away for so long, the session's own account is given up for the one that stands in. */
const movedAfterMs = 10 * 60_000;

interface Bond {
  readonly home: string;
  readonly usedAt: number;
  readonly standIn?: { readonly accountId: string; readonly since: number; readonly until: number };
}

export function createAffinity(now: () => number, slowFirstContentMs: number): Affinity {
  const bonds = new LRUCache<string, Bond>({ max: mostSessions });
  const pace = createAccountPace(now, slowFirstContentMs);

  return {
    pace,
    sessionOf(clientId, provider, key) {
      const name = hash('sha256', JSON.stringify([clientId, provider, key]), 'base64url');
      const bondOf = (): Bond | undefined => {
        const bond = bonds.get(name);
        return bond && now() - bond.usedAt < idleMs ? bond : undefined;
      };
      return {
        preferred() {
          const bond = bondOf();
          if (!bond) return undefined;
          const { home, standIn } = bond;
          const wanted = standIn && now() < standIn.until ? standIn.accountId : home;
          return pace.isSlow(wanted) ? undefined : wanted;
        },

        answeredBy(accountId, how) {
          const bond = bondOf();
          const usedAt = now();
          if (!bond) bonds.set(name, { home: accountId, usedAt });
          else if (how !== 'sought') bonds.set(name, { ...bond, usedAt });
          else if (accountId === bond.home) bonds.set(name, { home: accountId, usedAt });
          else bonds.set(name, standIn(bond, accountId, usedAt));
        },
      };
    },
  };
}

/** A turn away from home: for once, or, where home is away for long, for good. */
function standIn({ home, standIn: before }: Bond, accountId: string, at: number): Bond {
  const since = before?.since ?? at;
  if (at - since >= movedAfterMs) return { home: accountId, usedAt: at };
  const isOver = before === undefined || at >= before.until || before.accountId !== accountId;
  const until = isOver ? at + standInMs : before.until;
  return { home, usedAt: at, standIn: { accountId, since, until } };
}

/** What names a turn's session in its headers. */
export function affinityKeyOf(headers: IncomingHttpHeaders): string | undefined {
  for (const name of keyHeaders) {
    const value = headers[name];
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}
