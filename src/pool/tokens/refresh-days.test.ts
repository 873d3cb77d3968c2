import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { TokenError, type TokenGrant } from '../../core/provider.ts';
import { sleep } from '../../lib/clock.ts';
import type { Caller } from '../base/basics.ts';
import { openMemoryStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import {
  createTestClock,
  type FakeIssuer,
  settled,
  startTestPool,
  type TestClock,
} from '../testing/test-pool.ts';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const owner: Caller = { role: 'admin', keyId: 'owner', isGateway: false };
const gateway: Caller = { role: 'borrower', keyId: 'gateway', isGateway: true };
const program: Caller = { role: 'borrower', keyId: 'program', isGateway: false };
const names = ['a', 'b', 'c'] as const;

/** What the issuer does with a request: it rotates its tokens, and takes each once. */
type Answer = 'good' | 'refused' | 'unsent' | 'lost';
/** A token that is lost ends the account, so that seldom. */
const answers: readonly Answer[] = ['good', 'good', 'good', 'good', 'refused', 'refused', 'unsent', 'lost'];

/** An issuer that notes when requests reach it, and what it issued last. */
class Issuer {
  readonly asked = new Map<string, number[]>(names.map((name) => [name, []]));
  readonly present = new Map<string, string>(names.map((name) => [name, name]));
  /** Whose rotated token was not stored. */
  readonly lost = new Set<string>();
  /** By the ids of the accounts. */
  readonly names = new Map<string, string>();
  readonly misused: string[] = [];
  readonly tooSoon: [string, number][] = [];
  readonly forced = new Set<string>();
  answer: Answer = 'good';
  wayMs = 0;
  readonly #clock: TestClock;
  #count = 0;

  constructor(clock: TestClock) {
    this.#clock = clock;
  }

  async refresh(refreshToken: string): Promise<TokenGrant> {
    const name = refreshToken.split('+')[0] ?? '';
    const { answer, wayMs } = this;
    // The hour counts from the intent. On its way time goes on in steps, so that the arrival may be seen late.
    const at = this.#clock.now();
    if (answer === 'unsent') throw new TokenError('unsent', 'not there');
    if (wayMs > 0) await sleep(this.#clock, wayMs);
    const asked = this.asked.get(name) ?? [];
    if (answer === 'refused') throw new TokenError('refused', 'too many', { retryAfterMs: 90 * second });
    const before = asked.at(-1);
    asked.push(at);
    if (before !== undefined && !this.forced.delete(name) && at - before < hour)
      this.tooSoon.push([name, at - before]);
    if (this.present.get(name) !== refreshToken) {
      if (!this.lost.has(name)) this.misused.push(refreshToken);
      throw new TokenError('invalid_grant', 'This refresh token was replaced.');
    }
    this.#count += 1;
    const next = `${name}+${this.#count}`;
    this.present.set(name, next);
    this.lost.add(name);
    if (answer === 'lost') throw new TokenError('unknown', 'the answer did not arrive');
    if (wayMs > 0) await sleep(this.#clock, wayMs);
    return { bearer: `bearer-${next}`, lifetimeMs: hour, refreshToken: next };
  }

  stored(accountId = ''): void {
    this.lost.delete(this.names.get(accountId) ?? '');
  }
}

/** A pool of its own process: when it is killed, nothing that it began goes on. */
async function startInstance(store: Store, clock: TestClock, issuer: Issuer, random: () => number) {
  let isAlive = true;
  const stopped = <Value>(value: Promise<Value>): Promise<Value> =>
    new Promise((resolve, reject) => {
      value.then(
        (done) => isAlive && resolve(done),
        (error: unknown) => isAlive && reject(error),
      );
    });
  const noting: Store = {
    ...store,
    async commitRefresh(...given) {
      const done = await store.commitRefresh(...given);
      issuer.stored(done?.account.id);
      return done;
    },
  };
  const mortal = Object.fromEntries(
    Object.entries(noting).map(([name, verb]) => [
      name,
      typeof verb === 'function' && name !== 'listen'
        ? (...given: unknown[]) =>
            isAlive
              ? stopped(Promise.resolve((verb as (...all: unknown[]) => unknown)(...given)))
              : new Promise(() => {})
        : verb,
    ]),
  ) as unknown as Store;
  const tokens: FakeIssuer = {
    isLoopback: false,
    asked: [],
    lifetimeMs: hour,
    answer: () => ({ bearer: '', lifetimeMs: hour }),
    grant: () => ({ bearer: '', lifetimeMs: hour }),
    refresh: (refreshToken) => stopped(issuer.refresh(refreshToken)),
  };
  const parts = await startTestPool(
    {},
    {
      store: { ...mortal, isShared: true, close: async () => {} },
      clock: { ...clock, after: (ms, task) => clock.after(ms, () => isAlive && task()) },
      issuer: tokens,
      random,
    },
  );
  return {
    ...parts,
    kill() {
      isAlive = false;
    },
  };
}
type Instance = Awaited<ReturnType<typeof startInstance>>;

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.integer({ min: second, max: 40 * minute }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('issuer' as const),
      answer: fc.constantFrom(...answers),
      wayMs: fc.integer({ min: 0, max: 6 * second }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('kill' as const),
      which: fc.nat(1),
      inMs: fc.integer({ min: 0, max: 70 * minute }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('401' as const),
      which: fc.nat(1),
      account: fc.nat(2),
      byGateway: fc.boolean(),
      isTrue: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      which: fc.nat(1),
      account: fc.nat(2),
      force: fc.boolean(),
    }),
  },
);

it('two pools refresh an account once an hour through days of crashes, lost answers and rejections, and lose no token', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 30, size: 'max' }),
      fc.nat(),
      async (steps, seed) => {
        let state = seed;
        const random = () => {
          state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
          return state / 2_147_483_648;
        };
        const clock = createTestClock();
        const store = openMemoryStore(clock.now(), { auditsLeases: true });
        const issuer = new Issuer(clock);
        const start = () => startInstance(store, clock, issuer, random);
        const instances: [Instance, Instance] = [await start(), await start()];
        const ids = new Map<string, string>();
        const pass = async (ms: number) => {
          for (let gone = 0; gone < ms; ) {
            const part = Math.min(ms - gone, random() < 0.3 ? 3 * second : 5 * minute);
            clock.advance(part);
            gone += part;
            await settled();
          }
        };
        for (const name of names) {
          const added = await instances[0].pool.add(owner, { provider: 'warp', refresh_token: name });
          ids.set(name, added.account.id);
          issuer.names.set(added.account.id, name);
          issuer.stored(added.account.id);
        }
        const idOf = (index: number) => ids.get(names[index] ?? 'a') ?? '';
        for (const action of steps) {
          const instance = 'which' in action ? instances[action.which as 0 | 1] : instances[0];
          if (action.do === 'pass') await pass(action.ms);
          else if (action.do === 'issuer')
            Object.assign(issuer, { answer: action.answer, wayMs: action.wayMs });
          else if (action.do === 'kill') {
            await pass(action.inMs);
            instance.kill();
            instances[action.which as 0 | 1] = await start();
          } else if (action.do === 'ask') {
            const name = names[action.account] ?? 'a';
            if (action.force) issuer.forced.add(name);
            const asked = instance.pool.refreshTokens(owner, {
              id: idOf(action.account),
              force: action.force,
            });
            void asked.catch(() => {});
            await pass(20 * second);
          } else {
            const caller = action.byGateway ? gateway : program;
            const session = { session_id: `${caller.keyId}-${action.which}`, exclusive: false, wait_ms: 0 };
            const lending = instance.pool.allocate(caller, session).catch(() => undefined);
            await pass(second);
            const lent = await Promise.race([lending, settled().then(() => undefined)]);
            const account = lent?.answer.accounts[0];
            if (!account) continue;
            if (action.isTrue) {
              const revoked = new AppError('upstream_unauthorized', 'revoked');
              for (const { warp } of instances) warp.quotas.set(account.id_token, revoked);
            }
            const report = {
              report_id: `r-${random()}`,
              account_id: account.id,
              fence: account.fence,
              token_version: account.token_version,
              outcome: 'unauthorized',
              at: '2026-01-01T00:00:00Z',
            };
            void instance.pool
              .report(caller, { session_id: session.session_id, reports: [report] })
              .catch(() => {});
            await pass(20 * second);
          }
        }
        Object.assign(issuer, { answer: 'good', wayMs: 0 });
        for (const { warp } of instances) warp.quotas.clear();
        // Longer than the longest wait after failures.
        await pass(8 * hour);
        expect(issuer).toMatchObject({ misused: [], tooSoon: [] });
        const standings = async () => {
          const { accounts } = await instances[0].pool.list({});
          return accounts.map(({ id, status, status_reason }) => {
            const name = names.find((one) => ids.get(one) === id) ?? '';
            return issuer.lost.has(name) ? { name, status } : { name, status, reason: status_reason };
          });
        };
        const expected = names.map((name) =>
          issuer.lost.has(name)
            ? { name, status: 'reauth_required' }
            : { name, status: 'active', reason: null },
        );
        // A token ends when the next one may be asked for, so that an account may be between the two.
        for (let late = 0; late < 60 && !isDeepStrictEqual(await standings(), expected); late += 1)
          await pass(3 * second);
        expect(await standings()).toEqual(expected);
        for (const { kill } of instances) kill();
        await store.close();
      },
    ),
    // Made shorter, a failure would take minutes to be shown.
    { numRuns: 4, endOnFailure: true },
  );
}, 240_000);
