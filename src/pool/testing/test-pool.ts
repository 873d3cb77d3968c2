import type { AppError } from '../../core/errors.ts';
import {
  type Provider,
  type QuotaAnswer,
  TokenError,
  type TokenGrant,
  type TokenIssuer,
} from '../../core/provider.ts';
import type { Clock } from '../../lib/clock.ts';
import { createLogger } from '../../lib/log/logger.ts';
import type { PoolSettings } from '../base/basics.ts';
import { createPool, type PoolOptions, type PoolService } from '../create-pool.ts';
import { freshStanding } from '../standing/account-state.ts';
import { openMemoryStore } from '../store/open-store.ts';
import type { LeaseDemand, NewStoredAccount, Store } from '../store/store.ts';
import { createVault } from '../vault/vault.ts';

/** What the tests of the pool are made of. */

/** A clock that stands still until it is moved. */
export interface TestClock extends Clock {
  /** Moves time on and runs what falls due, in order. */
  advance(ms: number): void;
}

export function createTestClock(start = Date.UTC(2026, 0, 1)): TestClock {
  let now = 0;
  let tasks: { at: number; task: () => void }[] = [];
  return {
    now: () => start + now,
    monotonic: () => now,
    elapsed: () => now,
    after(delayMs, task) {
      const entry = { at: now + delayMs, task };
      tasks.push(entry);
      return () => {
        tasks = tasks.filter((other) => other !== entry);
      };
    },
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const due = tasks.filter((entry) => entry.at <= end).sort((one, other) => one.at - other.at)[0];
        if (due === undefined) break;
        tasks = tasks.filter((other) => other !== due);
        now = Math.max(now, due.at);
        due.task();
      }
      now = end;
    },
  };
}

export function testAccount(id: string, change: Partial<NewStoredAccount> = {}): NewStoredAccount {
  return {
    id,
    provider: 'warp',
    email: `${id}@example.com`,
    label: null,
    capacity: 16,
    models: null,
    free: false,
    lend: 'any',
    tier: 0,
    teamUid: null,
    source: 'api',
    credentialKind: 'api_key',
    credential: { sealed: `sealed-${id}`, fingerprint: `fingerprint-${id}`, hint: '****' },
    standing: freshStanding,
    probe: 'proved',
    quota: null,
    nextCheckAt: null,
    ...change,
  };
}

export function testDemand(sessionId: string, change: Partial<LeaseDemand> = {}): LeaseDemand {
  return {
    sessionId,
    owner: { keyId: 'key-1', isGateway: false },
    count: 1,
    provider: null,
    model: null,
    labels: null,
    exclusive: true,
    slots: 1,
    ttlMs: null,
    defaultTtlMs: 60_000,
    exclude: [],
    prefer: null,
    waitUntil: 0,
    ...change,
  };
}

/** Lets promises go as far as they get without time passing. */
export async function settled(): Promise<void> {
  for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves time on in small steps, letting promises go as far as they get after each. */
export async function pass(clock: TestClock, ms: number, stepMs = 10_000): Promise<void> {
  for (let gone = 0; gone < ms; gone += stepMs) {
    clock.advance(Math.min(stepMs, ms - gone));
    await settled();
  }
}

/** A token endpoint. Every refresh token it is asked with is noted; unless the test says otherwise it rotates them. */
export interface FakeIssuer extends TokenIssuer {
  isLoopback: boolean;
  readonly asked: { readonly refreshToken: string; readonly at: number }[];
  lifetimeMs: number;
  /** Set by the test; may wait, or throw. */
  answer(refreshToken: string): TokenGrant | Promise<TokenGrant>;
  /** What it answers by itself. */
  grant(refreshToken: string): TokenGrant;
}

function createFakeIssuer(clock: TestClock): FakeIssuer {
  const spent = new Set<string>();
  const issuer: FakeIssuer = {
    isLoopback: false,
    asked: [],
    lifetimeMs: 3_600_000,
    grant(refreshToken) {
      if (spent.has(refreshToken)) throw new TokenError('invalid_grant', 'This refresh token was replaced.');
      spent.add(refreshToken);
      const number = issuer.asked.length;
      return {
        bearer: `bearer-${number}`,
        lifetimeMs: issuer.lifetimeMs,
        refreshToken: `${refreshToken.split('+')[0]}+${number}`,
      };
    },
    answer: (refreshToken) => issuer.grant(refreshToken),
    async refresh(refreshToken) {
      issuer.asked.push({ refreshToken, at: clock.now() });
      return issuer.answer(refreshToken);
    },
  };
  return issuer;
}

/** A provider whose quota answers are set by the test, by bearer or `bearer@team`; unset keys have plenty. */
interface FakeProvider extends Provider {
  readonly quotas: Map<string, QuotaAnswer | AppError | 'never'>;
  readonly asked: string[];
  /** The team of each question in `asked`. */
  readonly askedTeams: (string | undefined)[];
}

function createFakeProvider(name: string): FakeProvider {
  const quotas = new Map<string, QuotaAnswer | AppError | 'never'>();
  const asked: string[] = [];
  const askedTeams: (string | undefined)[] = [];
  return {
    name,
    quotas,
    asked,
    askedTeams,
    normalizeApiKey: (key) => (key.startsWith('wk-') ? key : `wk-${key}`),
    async getQuota({ bearer, teamUid }) {
      asked.push(bearer);
      askedTeams.push(teamUid);
      const answer = quotas.get(`${bearer}@${teamUid}`) ??
        quotas.get(bearer) ?? { isUnlimited: false, limit: 100, used: 1, remaining: 99 };
      if (answer === 'never') return new Promise(() => {});
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
}

export const testSettings: PoolSettings = {
  minPoolSize: 5,
  maxPoolSize: 50,
  sessionTimeoutMs: 1_800_000,
  retireAfterMs: null,
  sandbox: false,
  refreshMinIntervalMs: 3_600_000,
  provisionConcurrency: 3,
  version: 'test',
};

export interface TestPool {
  readonly pool: PoolService;
  readonly store: Store;
  readonly clock: TestClock;
  readonly warp: FakeProvider;
  readonly issuer: FakeIssuer;
}

export async function startTestPool(
  settings: Partial<PoolSettings> = {},
  given: Partial<Pick<PoolOptions, 'logger' | 'onRefreshStep' | 'random' | 'sources'>> & {
    readonly clock?: TestClock;
    readonly store?: Store;
    readonly issuer?: FakeIssuer;
  } = {},
): Promise<TestPool> {
  const clock = given.clock ?? createTestClock();
  const store = given.store ?? openMemoryStore(clock.now(), { auditsLeases: true });
  const issuer = given.issuer ?? createFakeIssuer(clock);
  const warp = { ...createFakeProvider('warp'), tokens: issuer, hasTeams: true as const };
  const pool = createPool({
    store,
    clock,
    vault: createVault(new Uint8Array(32).fill(7)),
    providers: new Map([
      ['warp', warp],
      ['openai', createFakeProvider('openai')],
      ['sandbox', { ...createFakeProvider('sandbox'), isTrial: true as const }],
    ]),
    logger: given.logger ?? createLogger('fatal'),
    random: given.random ?? (() => 0),
    ...(given.onRefreshStep === undefined ? {} : { onRefreshStep: given.onRefreshStep }),
    ...(given.sources === undefined ? {} : { sources: given.sources }),
    settings: { ...testSettings, ...settings },
  });
  await pool.start();
  return { pool, store, clock, warp, issuer };
}
