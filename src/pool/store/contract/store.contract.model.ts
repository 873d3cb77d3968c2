import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outcomes } from '../../../core/outcome.ts';
import type { TokenFailure } from '../../../core/provider.ts';
import { freshStanding } from '../../standing/account-state.ts';
import { testAccount, testDemand } from '../../testing/test-pool.ts';
import type { Granted, Store, StoredAccount } from '../store.ts';

export interface ModelledStore {
  open(): Promise<Store>;
  /** As after a crash: all that was in memory is gone. */
  reopen(store: Store): Promise<Store>;
}

const start = Date.UTC(2026, 0, 1);
const minute = 60_000;
const hour = 60 * minute;
const capacity = 4;
const accountIds = ['key-a', 'key-b', 'token-a', 'token-b'] as const;
const sessionIds = ['s1', 's2', 's3'] as const;
const failures = ['invalid_grant', 'account_gone', 'refused', 'unsent', 'unknown'] as const;
const isToken = (id: string): boolean => id.startsWith('token');

interface HeldLease {
  readonly fence: number;
  slots: number;
}
interface HeldSession {
  readonly exclusive: boolean;
  ttlMs: number;
  expiresAt: number;
  readonly leases: Map<string, HeldLease>;
}

/** What must be so, told from the answers alone. */
interface Model {
  now: number;
  reports: number;
  tokens: number;
  readonly accounts: Set<string>;
  readonly sessions: Map<string, HeldSession>;
  readonly lastFence: Map<string, number>;
  readonly lastVersion: Map<string, number>;
  /** Intents that count, by account; one that is removed and added again has not become another. */
  readonly intents: Map<string, number[]>;
  /** The attempt under way, by account, and others that may still come back late. */
  readonly attempts: Map<
    string,
    { readonly id: string; readonly intentAt: number; readonly limitAt: number }
  >;
}
interface Real {
  store: Store;
  readonly reopen: ModelledStore['reopen'];
}
type Command = fc.AsyncCommand<Model, Real>;

/** What holds whatever is done to a store in whatever order: found by doing anything to it. */
export function describeModel(name: string, modelled: ModelledStore, runs: number): void {
  describe(`${name} against a model`, () => {
    it('keeps every promise through any run of calls, crashes and passing time', async () => {
      await fc.assert(
        fc.asyncProperty(fc.commands(commands, { maxCommands: 40, size: 'max' }), async (run) => {
          const real: Real = { store: await modelled.open(), reopen: modelled.reopen };
          const model = emptyModel();
          try {
            for (const id of accountIds) await addAccount(model, real, id);
            await fc.asyncModelRun(() => ({ model, real }), run);
          } finally {
            await real.store.close();
          }
        }),
        { numRuns: runs, endOnFailure: false },
      );
    }, 240_000);
  });
}

function emptyModel(): Model {
  return {
    now: start,
    reports: 0,
    tokens: 0,
    accounts: new Set(),
    sessions: new Map(),
    lastFence: new Map(),
    lastVersion: new Map(),
    intents: new Map(),
    attempts: new Map(),
  };
}

/** A command that does something and then looks at everything. */
function command<Choice>(
  word: string,
  choice: fc.Arbitrary<Choice>,
  act: (model: Model, real: Real, choice: Choice) => Promise<void>,
): fc.Arbitrary<Command> {
  return choice.map((chosen) => ({
    check: () => true,
    async run(model, real) {
      await act(model, real, chosen);
      await expectConsistent(model, real);
    },
    toString: () => `${word} ${JSON.stringify(chosen)}`,
  }));
}

const anAccount = fc.constantFrom(...accountIds);
const aSession = fc.constantFrom(...sessionIds);

const commands: fc.Arbitrary<Command>[] = [
  ...Array.from({ length: 3 }, () =>
    command(
      'allocate',
      fc.record({
        session: aSession,
        exclusive: fc.boolean(),
        slots: fc.integer({ min: 1, max: 3 }),
        count: fc.integer({ min: 1, max: 3 }),
        prefer: fc.option(anAccount),
        ttlMs: fc.constantFrom(10_000, 10 * minute, 3 * hour),
      }),
      allocate,
    ),
  ),
  command('release', fc.record({ session: aSession, one: fc.boolean(), isWrong: fc.boolean() }), release),
  ...Array.from({ length: 2 }, () =>
    command(
      'report',
      fc.record({
        session: aSession,
        account: anAccount,
        outcome: fc.constantFrom(...outcomes),
        isOldToken: fc.boolean(),
        isOldFence: fc.boolean(),
      }),
      report,
    ),
  ),
  command(
    'pass',
    fc.constantFrom(1, 5_000, minute, 20 * minute, hour, 25 * hour),
    async (model, _real, ms) => {
      model.now += ms;
    },
  ),
  command('claim', fc.record({ account: anAccount, force: fc.boolean() }), claimRefresh),
  command('commit', fc.record({ account: anAccount, rotates: fc.boolean() }), commitRefresh),
  command('fail', fc.record({ account: anAccount, failure: fc.constantFrom(...failures) }), failRefresh),
  command('interrupt', fc.constant(null), findInterrupted),
  command('add', anAccount, addAccount),
  command('remove', anAccount, removeAccount),
  command('enable', fc.record({ account: anAccount, enabled: fc.boolean() }), enable),
  command('replace', fc.record({ account: anAccount, withBearer: fc.boolean() }), replaceCredential),
  command('crash', fc.constant(null), async (_model, real) => {
    real.store = await real.reopen(real.store);
  }),
];

function live(model: Model, id: string): HeldSession | undefined {
  const session = model.sessions.get(id);
  if (session === undefined || session.expiresAt > model.now) return session;
  model.sessions.delete(id);
  return undefined;
}

async function allocate(
  model: Model,
  { store }: Real,
  choice: {
    session: string;
    exclusive: boolean;
    slots: number;
    count: number;
    prefer: string | null;
    ttlMs: number;
  },
): Promise<void> {
  const { session: id, exclusive, count, prefer, ttlMs } = choice;
  const slots = exclusive ? 1 : choice.slots;
  const before = live(model, id);
  const demand = testDemand(id, { exclusive, slots, count, prefer, ttlMs, waitUntil: model.now });
  const result = await store.ensureLeases(model.now, demand);
  if (result.result === 'mismatch') {
    expect(before?.exclusive).toBe(!exclusive);
    return;
  }
  expect(before?.exclusive ?? exclusive).toBe(exclusive);
  if (result.result === 'short') {
    expect(result.missing).toBeGreaterThan(0);
    if (before !== undefined) Object.assign(before, { ttlMs, expiresAt: model.now + ttlMs });
    return;
  }
  expect(result.created).toBe(before === undefined);
  expect(result.leases.length).toBeGreaterThanOrEqual(count);
  const session = { exclusive, ttlMs, expiresAt: result.expiresAt, leases: before?.leases ?? new Map() };
  model.sessions.set(id, session);
  expect(result.expiresAt).toBe(model.now + ttlMs);
  noteGrant(model, session, result);
}

function noteGrant(model: Model, session: HeldSession, { added, leases }: Granted): void {
  for (const { id, fence } of added) {
    expect(session.leases.has(id)).toBe(false);
    expect(fence).toBeGreaterThan(model.lastFence.get(id) ?? 0);
    model.lastFence.set(id, fence);
    session.leases.set(id, { fence, slots: 0 });
  }
  for (const lease of leases) {
    const held = session.leases.get(lease.account.id);
    expect(held?.fence).toBe(lease.fence);
    expect(lease.slots).toBeGreaterThanOrEqual(held?.slots ?? 0);
    if (held !== undefined) held.slots = lease.slots;
    const { bearer } = lease.account;
    const isAdded = added.some(({ id }) => id === lease.account.id);
    if (isAdded && isToken(lease.account.id)) expect(bearer?.expiresAt).toBeGreaterThan(model.now);
  }
}

async function release(
  model: Model,
  { store }: Real,
  { session: id, one, isWrong }: { session: string; one: boolean; isWrong: boolean },
): Promise<void> {
  const session = live(model, id);
  const [first] = session?.leases ?? [];
  const named = one && first !== undefined ? first : undefined;
  const leases = named === undefined ? null : [{ id: named[0], fence: named[1].fence + (isWrong ? 1 : 0) }];
  const result = await store.release(model.now, { sessionId: id, keyId: 'key-1', leases });
  if (session === undefined) {
    expect(result).toBeNull();
  } else if (named === undefined) {
    expect(result?.released).toBe(session.leases.size);
    model.sessions.delete(id);
  } else {
    expect(result?.released).toBe(isWrong ? 0 : 1);
    if (!isWrong) session.leases.delete(named[0]);
  }
}

async function report(
  model: Model,
  { store }: Real,
  choice: {
    session: string;
    account: string;
    outcome: (typeof outcomes)[number];
    isOldToken: boolean;
    isOldFence: boolean;
  },
): Promise<void> {
  model.reports += 1;
  const { account: accountId, outcome } = choice;
  const session = live(model, choice.session);
  const held = session?.leases.get(accountId);
  const fence = (held?.fence ?? 1) - (choice.isOldFence ? 1 : 0);
  const tokenVersion = (model.lastVersion.get(accountId) ?? 1) - (choice.isOldToken ? 1 : 0);
  const turn = {
    reportId: `r${model.reports}`,
    accountId,
    fence,
    signal: { outcome, tokenVersion },
    usage: { turns: 1, inputTokens: 3, outputTokens: 2, credits: 0.5, costCents: 0.25 },
  };
  const before = await store.account(model.now, accountId);
  const demand = { sessionId: choice.session, keyId: 'key-1', turns: [turn, turn] };
  const answer = await store.report(model.now, demand);
  if (session !== undefined) session.expiresAt = model.now + session.ttlMs;
  const [result, again] = answer?.results ?? [];
  if (before === null) {
    expect(result?.result).toBe('unknown');
    return;
  }
  expect(again?.result).toBe('duplicate');
  const isLive = held?.fence === fence;
  expect(result?.isLive).toBe(isLive);
  const isStale = !isLive || (outcome === 'unauthorized' && choice.isOldToken);
  expect(result?.result).toBe(isStale ? 'stale' : 'applied');
  if (isStale) expect(result?.account?.standing).toEqual(before.standing);
  expect(result?.account?.usage.turns).toBe(before.usage.turns + 1);
}

async function claimRefresh(
  model: Model,
  { store }: Real,
  { account: accountId, force }: { account: string; force: boolean },
): Promise<void> {
  const demand = { accountId, minIntervalMs: hour, limitMs: minute, force, instance: 'here', actor: 'test' };
  const result = await store.claimRefresh(model.now, demand);
  const underWay = model.attempts.get(accountId);
  if (result.result !== 'claimed') return;
  expect(isToken(accountId)).toBe(true);
  if (underWay !== undefined) expect(underWay.limitAt).toBeLessThanOrEqual(model.now);
  const intents = model.intents.get(accountId) ?? [];
  if (!force) for (const at of intents) expect(model.now - at).toBeGreaterThanOrEqual(hour);
  model.intents.set(accountId, [...intents, model.now]);
  model.attempts.set(accountId, {
    id: result.refreshId,
    intentAt: model.now,
    limitAt: model.now + minute,
  });
}

async function commitRefresh(
  model: Model,
  { store }: Real,
  { account: accountId, rotates }: { account: string; rotates: boolean },
): Promise<void> {
  const attempt = model.attempts.get(accountId);
  if (attempt === undefined) return;
  model.tokens += 1;
  const unique = `${accountId}-${model.tokens}`;
  const done = await store.commitRefresh(model.now, attempt.id, {
    bearer: { sealed: `bearer-${unique}`, expiresAt: model.now + 2 * hour },
    nextRefreshAt: model.now + hour,
    ...(rotates ? { credential: { sealed: `sealed-${unique}`, fingerprint: unique, hint: '' } } : {}),
  });
  model.attempts.delete(accountId);
  countFrom(model, accountId, attempt, model.now);
  if (done !== null) {
    expect(done.account.bearer?.sealed).toBe(`bearer-${unique}`);
    if (rotates) expect(done.account.sealedCredential).toBe(`sealed-${unique}`);
  }
}

async function failRefresh(
  model: Model,
  { store }: Real,
  { account: accountId, failure }: { account: string; failure: TokenFailure },
): Promise<void> {
  const attempt = model.attempts.get(accountId);
  if (attempt === undefined) return;
  const isOver = failure === 'invalid_grant' || failure === 'account_gone';
  const failed = { failure, message: 'no', retryAt: model.now + minute, givenUp: isOver ? 'gone' : null };
  const done = await store.failRefresh(model.now, attempt.id, failed);
  model.attempts.delete(accountId);
  const counts = failure !== 'unsent' && failure !== 'refused';
  if (done === null) return;
  countFrom(model, accountId, attempt, counts ? model.now : null);
}

/** An attempt counts from its answer, or not at all; from its intent while it has neither. */
function countFrom(
  model: Model,
  accountId: string,
  attempt: { readonly intentAt: number },
  at: number | null,
): void {
  const others = model.intents.get(accountId)?.filter((intent) => intent !== attempt.intentAt) ?? [];
  model.intents.set(accountId, at === null ? others : [...others, at]);
}

async function findInterrupted(model: Model, { store }: Real): Promise<void> {
  const { interrupted } = await store.findInterruptedRefreshes(model.now, null);
  for (const { accountId, intentAt } of interrupted) {
    const attempt = model.attempts.get(accountId);
    if (attempt?.intentAt === intentAt) expect(attempt.limitAt).toBeLessThanOrEqual(model.now);
  }
  const again = await store.findInterruptedRefreshes(model.now, null);
  expect(again.interrupted).toEqual([]);
}

async function addAccount(model: Model, { store }: Real, id: string): Promise<void> {
  const change = isToken(id)
    ? {
        credentialKind: 'refresh_token' as const,
        bearer: { sealed: `bearer-${id}`, expiresAt: model.now + 2 * hour },
        nextRefreshAt: model.now,
      }
    : {};
  const result = await store.addAccount(model.now, testAccount(id, { capacity, ...change }), 'test');
  expect(result.result).toBe(model.accounts.has(id) ? 'duplicate' : 'added');
  if (result.result === 'added') {
    model.accounts.add(id);
    model.lastFence.delete(id);
    model.lastVersion.delete(id);
  }
}

async function removeAccount(model: Model, { store }: Real, id: string): Promise<void> {
  const result = await store.removeAccount(model.now, id, 'test');
  expect(result !== null).toBe(model.accounts.has(id));
  model.accounts.delete(id);
  // What its attempt brings now is nobody's.
  model.attempts.delete(id);
}

async function enable(
  model: Model,
  { store }: Real,
  { account: id, enabled }: { account: string; enabled: boolean },
): Promise<void> {
  const standing = enabled ? freshStanding : { ...freshStanding, state: 'disabled' as const };
  await store.changeAccount(
    model.now,
    id,
    { standing: { standing, probe: 'proved', quota: null, nextCheckAt: null } },
    { actor: 'test', action: 'enable', detail: {} },
  );
}

async function replaceCredential(
  model: Model,
  { store }: Real,
  { account: id, withBearer }: { account: string; withBearer: boolean },
): Promise<void> {
  model.tokens += 1;
  const unique = `${id}-${model.tokens}`;
  const credential = {
    sealed: `sealed-${unique}`,
    fingerprint: unique,
    hint: '',
    ...(isToken(id) && withBearer
      ? { bearer: { sealed: `bearer-${unique}`, expiresAt: model.now + hour } }
      : {}),
  };
  const change = { actor: 'test', action: 'replace', detail: {} };
  const done = await store.changeAccount(model.now, id, { credential }, change);
  const before = model.lastVersion.get(id) ?? 1;
  if (done === null) return;
  expect(done.account.tokenVersion).toBe(before + 1);
  // A refresh token without a bearer has nothing to lend: whoever held the account has lost it.
  if (isToken(id) && !withBearer) for (const session of model.sessions.values()) session.leases.delete(id);
}

/** Everything the store says fits together, and fits the model. */
async function expectConsistent(model: Model, { store }: Real): Promise<void> {
  const { now } = model;
  const { accounts, total } = await store.accounts(now, { limit: 100 });
  const stats = await store.stats(now);
  expect(new Set(accounts.map(({ id }) => id))).toEqual(model.accounts);
  expect(total).toBe(accounts.length);
  const isOut = new Set(accounts.filter(outOfService).map(({ id }) => id));
  for (const id of sessionIds) {
    const session = live(model, id);
    for (const held of session?.leases.keys() ?? []) {
      if (isOut.has(held) || !model.accounts.has(held)) session?.leases.delete(held);
    }
  }
  for (const account of accounts) expectLeases(model, account);
  for (const { id, tokenVersion } of accounts) {
    expect(tokenVersion).toBeGreaterThanOrEqual(model.lastVersion.get(id) ?? 1);
    model.lastVersion.set(id, tokenVersion);
  }
  const inState = (state: string): number => accounts.filter((one) => one.standing.state === state).length;
  const usable = accounts.filter((one) => ['active', 'cooldown', 'exhausted'].includes(one.standing.state));
  expect(stats).toMatchObject({
    total: accounts.length,
    available: accounts.filter(hasPlace).length,
    inUse: accounts.filter((one) => one.holders > 0).length,
    standby: inState('standby'),
    active: inState('active'),
    cooldown: inState('cooldown'),
    exhausted: inState('exhausted'),
    reauthRequired: inState('reauth_required'),
    disabled: inState('disabled'),
    sessions: model.sessions.size,
    unmetered: usable.filter((one) => one.quota === null).length,
  });
}

function expectLeases(model: Model, account: StoredAccount): void {
  const holders = [...model.sessions.values()].flatMap((session) => {
    const lease = session.leases.get(account.id);
    return lease === undefined ? [] : [{ exclusive: session.exclusive, slots: lease.slots }];
  });
  expect([account.id, account.holders]).toEqual([account.id, holders.length]);
  const isExclusive = holders.some((holder) => holder.exclusive);
  expect(account.isHeldExclusively).toBe(isExclusive);
  if (isExclusive) expect(holders).toHaveLength(1);
  const slots = holders.reduce((sum, holder) => sum + holder.slots, 0);
  expect(account.slotsInUse).toBe(slots);
  expect(slots).toBeLessThanOrEqual(account.capacity);
  if (outOfService(account)) expect(holders).toHaveLength(0);
}

function outOfService({ standing }: StoredAccount): boolean {
  return standing.state === 'disabled' || standing.state === 'reauth_required';
}

function hasPlace(account: StoredAccount): boolean {
  const { standing, isHeldExclusively, slotsInUse, holders } = account;
  return (
    standing.state === 'active' &&
    !isHeldExclusively &&
    slotsInUse < account.capacity &&
    !(standing.halfOpen && holders > 0)
  );
}
