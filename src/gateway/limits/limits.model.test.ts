import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createManualClock } from '../testing/manual-clock.ts';
import { silentLogger } from '../testing/turn-fixture.ts';
import type { Allowance } from './allowance.ts';
import type { AskedSlice } from './limit-verbs.ts';
import { Limits, type LimitsDatabase } from './limits.ts';
import { grantOf, type StoredLimit, type StoredSlice, shareOf } from './slices.ts';

const dayMs = 86_400_000;
const limit = 1_000;
const managed = {
  keyId: 'key_1',
  name: 'key',
  owner: null,
  models: null,
  providers: null,
  labels: null,
  limits: {
    tokens_per_minute: limit,
    budgets: [{ meter: 'tokens' as const, window: 'day' as const, limit: 3 * limit }],
    time_zone: 'America/New_York',
  },
  expiresAt: null,
  isEnabled: true,
  revision: 1,
};

/** What several gateways share, without a database: it may fail before and after it did what it was asked. */
class SharedMemory {
  readonly limits = new Map<string, StoredLimit>();
  readonly slices = new Map<string, Map<string, StoredSlice>>();
  readonly dead = new Set<string>();
  fails: 'no' | 'before' | 'after' = 'no';

  database(): LimitsDatabase & { readonly id: () => string | undefined } {
    let id: string | undefined;
    const verbs = {
      exchangeLimits: async (gatewayId: string, asks: readonly AskedSlice[]) => {
        id = gatewayId;
        if (this.fails === 'before') throw new Error('It failed.');
        const answers = asks.map((ask) => this.#exchange(gatewayId, ask));
        if (this.fails === 'after') throw new Error('The answer is lost.');
        return answers;
      },
      usedLimits: async () => [],
      forgetGateway: async () => {},
      pruneLimits: async () => {},
    };
    return { isShared: true, ask: (question) => question(verbs), id: () => id };
  }

  #exchange(gatewayId: string, ask: AskedSlice) {
    const stored = this.limits.get(ask.name) ?? { spent: 0, unknown: 0 };
    const slices = this.slices.get(ask.name) ?? new Map<string, StoredSlice>();
    const others = [...slices].filter(([id]) => id !== gatewayId && !this.dead.has(id)).map(([, one]) => one);
    const grant = grantOf(stored, slices.get(gatewayId), others, ask, shareOf(true));
    const { spent, unknown } = grant;
    this.limits.set(ask.name, { spent, unknown });
    const { reserved } = ask;
    slices.set(gatewayId, {
      held: ask.keeps + grant.extra,
      reserved,
      spent: ask.spent,
      unknown: ask.unknown,
    });
    this.slices.set(ask.name, slices);
    return { ...grant, passed: undefined };
  }
}

type Step =
  | { readonly type: 'begin'; readonly gateway: number; readonly tokens: number }
  | { readonly type: 'end'; readonly gateway: number; readonly share: number }
  | { readonly type: 'pass'; readonly ms: number }
  | { readonly type: 'fail'; readonly how: SharedMemory['fails'] }
  | { readonly type: 'kill'; readonly gateway: number };

const gateway = fc.integer({ min: 0, max: 2 });
const steps = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        type: fc.constant('begin' as const),
        gateway,
        tokens: fc.integer({ min: 1, max: 300 }),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        type: fc.constant('end' as const),
        gateway,
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        type: fc.constant('pass' as const),
        ms: fc.constantFrom(10, 100, 600, 5_000, 61_000, dayMs),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant('fail' as const),
        how: fc.constantFrom('no' as const, 'before' as const, 'after' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('kill' as const), gateway }) },
  ),
  { maxLength: 60, size: 'max' },
);

it('gateways that come and go keep to every window, and what is spent in one is never counted in another', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (all: readonly Step[]) => {
      const clock = createManualClock(Date.parse('2026-10-31T23:58:30Z'));
      const shared = new SharedMemory();
      const begin = () => {
        const database = shared.database();
        return { database, limits: new Limits(database, clock, silentLogger), turns: [] as Turn[] };
      };
      interface Turn {
        readonly allowance: Allowance;
        readonly tokens: number;
        readonly day: string;
      }
      const gateways = [begin(), begin(), begin()];
      const dayOf = () =>
        new Intl.DateTimeFormat('en-CA', { timeZone: 'America/New_York' }).format(clock.now());
      /** By day: what turns took, and what could not be heard of any more. */
      const spent = new Map<string, number>();
      const lost = new Map<string, number>();
      const add = (to: Map<string, number>, day: string, tokens: number) =>
        to.set(day, (to.get(day) ?? 0) + tokens);
      for (const step of all) {
        const at = gateways['gateway' in step ? step.gateway : 0] as (typeof gateways)[0];
        if (step.type === 'begin') {
          const key = at.limits.keyOf({ id: 'client', managed });
          if (!key) throw new Error('The key has limits.');
          const turn = {
            requestId: 'r',
            dialect: 'chat' as const,
            choices: 1,
            tokens: step.tokens,
            costCents: undefined,
          };
          let outcome: Allowance | Error | undefined;
          const note = (got: Allowance | Error) => {
            outcome = got;
          };
          Promise.resolve()
            .then(() => at.limits.reserve(key, turn))
            .then(note, note);
          while (outcome === undefined) await clock.advance(5);
          if (outcome instanceof Error) continue;
          at.turns.push({ allowance: outcome, tokens: step.tokens, day: dayOf() });
        } else if (step.type === 'end') {
          const turn = at.turns.pop();
          if (!turn) continue;
          const tokens = Math.round(turn.tokens * step.share);
          turn.allowance.settle({
            usage: { inputTokens: tokens, outputTokens: 0 },
            costCents: undefined,
            attempts: 1,
            isGood: true,
          });
          add(spent, turn.day, tokens);
        } else if (step.type === 'pass') {
          // Of a long time only the wall clock's is of interest.
          if (step.ms > 5_000) clock.step(step.ms);
          await clock.advance(Math.min(step.ms, 5_000));
        } else if (step.type === 'fail') shared.fails = step.how;
        else {
          const id = at.database.id();
          if (id !== undefined) shared.dead.add(id);
          for (const { day, tokens } of at.turns) {
            add(spent, day, tokens);
            add(lost, day, tokens);
          }
          // It may have spent what it had not said.
          const unsaid = limit;
          add(lost, dayOf(), unsaid);
          gateways[step.gateway] = begin();
        }
      }
      shared.fails = 'no';
      await clock.advance(2_000);
      for (const { turns, limits } of gateways) {
        for (const { allowance } of turns) allowance.release();
        const closing = limits.close();
        await clock.advance(100);
        await closing;
      }
      for (const [day, tokens] of spent) {
        const counted = shared.limits.get(`tokens/day/${day}`)?.spent ?? 0;
        expect(counted).toBeLessThanOrEqual(tokens);
        expect(counted).toBeGreaterThanOrEqual(tokens - (lost.get(day) ?? 0));
        // One turn of each gateway may begin with less than it takes.
        expect(tokens).toBeLessThanOrEqual(3 * limit + 3 * 300 + (lost.get(day) ?? 0));
      }
    }),
    { numRuns: 300 },
  );
});
