// Accounts that log in: their refresh tokens, the bearers minted from these, and who was asked how often.
import { randomBytes } from 'node:crypto';
import { createBoundedMap } from './bounded-map.ts';

/** What a refresh does to the token it was made with. `grace`: it works once more for a while. */
export type Rotation = 'never' | 'always' | 'grace';

export interface TokenSettings {
  /** Default `always`. */
  rotation: Rotation;
  /** How long an old token works once more under `grace`. Default 30. */
  graceSeconds: number;
  /** How long a bearer is good for. Default 3600. */
  lifetimeSeconds: number;
  /** The span in which refreshes of one account are counted together. Default 3600. */
  windowSeconds: number;
  /** The only value of `?key=` that is taken; null takes any. Default null. */
  apiKey: string | null;
  /** What clients of `/oauth/...` must prove; null asks for none. Default null. */
  clientSecret: string | null;
}

/** How the token endpoint speaks of an account that is closed. */
export type Closure = 'USER_DISABLED' | 'USER_NOT_FOUND';

export interface TokenAccount {
  readonly id: string;
  readonly email: string;
  closed: Closure | null;
  /** Refreshes that were executed. */
  issued: number;
  /** Requests for a refresh of it, whatever came of them. */
  asked: number;
  /** Most refreshes executed within any `windowSeconds`. */
  maxIssuedPerWindow: number;
  /** Uses of a refresh token that had been replaced. */
  misuse: number;
}

export interface Issued {
  readonly account: TokenAccount;
  readonly bearer: string;
  readonly refreshToken: string;
  readonly lifetimeSeconds: number;
}

/** Why a refresh token gives nothing. */
export type Refused = 'unknown' | 'replaced' | 'revoked' | Closure;

export interface TokenAccounts {
  readonly settings: TokenSettings;
  /** Makes an account, or gives an existing one another refresh token. */
  logIn(given?: { readonly email?: string; readonly refreshToken?: string }): Omit<Issued, 'bearer'>;
  /** Finds by id or e-mail address. */
  find(idOrEmail: string): TokenAccount | undefined;
  /** The account a refresh token was made for, dead or alive. */
  ownerOf(refreshToken: string): TokenAccount | undefined;
  refresh(refreshToken: string): Issued | Refused;
  /** A bearer without a refresh. */
  mint(account: TokenAccount): Issued['bearer'];
  /** The account's id; null for a bearer that is no longer or was never good; undefined for what is no token. */
  identityOf(bearer: string): string | null | undefined;
  revokeBearer(bearer: string): void;
  revokeBearers(account: TokenAccount): void;
  revokeRefreshTokens(account: TokenAccount): void;
  all(): TokenAccount[];
}

interface RefreshToken {
  readonly accountId: string;
  state: 'good' | 'replaced' | 'revoked';
  /** Until when it works once more. */
  graceUntil: number;
}

interface Bearer {
  readonly accountId: string;
  readonly expiresAt: number;
  isRevoked: boolean;
}

export const customTokenPrefix = 'custom-';
const keptAccounts = 10_000;
const keptTokens = 100_000;
/** An account refreshed more often than this within one window has long failed its test. */
const keptTimes = 1_000;

export function createTokenAccounts(now: () => number): TokenAccounts {
  const settings: TokenSettings = {
    rotation: 'always',
    graceSeconds: 30,
    lifetimeSeconds: 3_600,
    windowSeconds: 3_600,
    apiKey: null,
    clientSecret: null,
  };
  const accounts = createBoundedMap<TokenAccount>(keptAccounts);
  const idsByEmail = createBoundedMap<string>(keptAccounts);
  const issueTimes = createBoundedMap<number[]>(keptAccounts);
  const refreshTokens = createBoundedMap<RefreshToken>(keptTokens);
  const bearers = createBoundedMap<Bearer>(keptTokens);
  let count = 0;

  const find = (idOrEmail: string): TokenAccount | undefined =>
    accounts.get(idsByEmail.get(idOrEmail.toLowerCase()) ?? idOrEmail);

  /** Tokens of another kind, and bearers nobody minted here, are no keys either. */
  const isNoBearer = (text: string): boolean =>
    text.startsWith('eyJ') || text.startsWith(customTokenPrefix) || refreshTokens.get(text) !== undefined;

  const addRefreshToken = (account: TokenAccount, given?: string): string => {
    const token = given ?? `rt-${randomBytes(24).toString('base64url')}`;
    refreshTokens.set(token, { accountId: account.id, state: 'good', graceUntil: 0 });
    return token;
  };

  const mint = (account: TokenAccount): string => {
    const issuedAt = now();
    const expiresAt = issuedAt + settings.lifetimeSeconds * 1_000;
    const bearer = unsignedJwt({
      iss: 'https://sandbox.invalid',
      aud: 'sandbox',
      sub: account.id,
      user_id: account.id,
      email: account.email,
      iat: Math.floor(issuedAt / 1_000),
      exp: Math.floor(expiresAt / 1_000),
    });
    bearers.set(bearer, { accountId: account.id, expiresAt, isRevoked: false });
    return bearer;
  };

  const countIssue = (account: TokenAccount): void => {
    const since = now() - settings.windowSeconds * 1_000;
    const times = [...(issueTimes.get(account.id) ?? []).filter((time) => time > since), now()];
    issueTimes.set(account.id, times.slice(-keptTimes));
    account.issued += 1;
    account.maxIssuedPerWindow = Math.max(account.maxIssuedPerWindow, times.length);
  };

  return {
    settings,
    find,
    mint,
    logIn({ email, refreshToken } = {}) {
      count += 1;
      const account = (email === undefined ? undefined : find(email)) ?? {
        id: `user-${count}`,
        email: email ?? `user-${count}@sandbox.invalid`,
        closed: null,
        issued: 0,
        asked: 0,
        maxIssuedPerWindow: 0,
        misuse: 0,
      };
      accounts.set(account.id, account);
      idsByEmail.set(account.email.toLowerCase(), account.id);
      const token = addRefreshToken(account, refreshToken);
      return { account, refreshToken: token, lifetimeSeconds: settings.lifetimeSeconds };
    },
    ownerOf: (refreshToken) => accounts.get(refreshTokens.get(refreshToken)?.accountId ?? ''),
    refresh(refreshToken) {
      const token = refreshTokens.get(refreshToken);
      const account = accounts.get(token?.accountId ?? '');
      if (token === undefined || account === undefined) return 'unknown';
      if (token.state === 'revoked') return 'revoked';
      if (token.state === 'replaced') {
        if (token.graceUntil <= now()) {
          account.misuse += 1;
          return 'replaced';
        }
        token.graceUntil = 0;
      }
      if (account.closed !== null) return account.closed;
      countIssue(account);
      let next = refreshToken;
      if (settings.rotation !== 'never') {
        if (token.state === 'good' && settings.rotation === 'grace') {
          token.graceUntil = now() + settings.graceSeconds * 1_000;
        }
        token.state = 'replaced';
        next = addRefreshToken(account);
      }
      const { lifetimeSeconds } = settings;
      return { account, bearer: mint(account), refreshToken: next, lifetimeSeconds };
    },
    identityOf(bearer) {
      const known = bearers.get(bearer);
      if (known === undefined) return isNoBearer(bearer) ? null : undefined;
      const account = accounts.get(known.accountId);
      const isGood = !known.isRevoked && known.expiresAt > now() && account?.closed === null;
      return isGood ? known.accountId : null;
    },
    revokeBearer(bearer) {
      const known = bearers.get(bearer);
      if (known) known.isRevoked = true;
    },
    revokeBearers(account) {
      for (const bearer of bearers.values()) {
        if (bearer.accountId === account.id) bearer.isRevoked = true;
      }
    },
    revokeRefreshTokens(account) {
      for (const token of refreshTokens.values()) {
        if (token.accountId === account.id) token.state = 'revoked';
      }
    },
    all: () => accounts.values(),
  };
}

/** Looks like the real thing to whoever reads its claims; nobody here checks signatures. */
function unsignedJwt(claims: Record<string, unknown>): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signature = randomBytes(32).toString('base64url');
  return `${part({ alg: 'RS256', typ: 'JWT', kid: 'sandbox' })}.${part(claims)}.${signature}`;
}
