import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  type CountedLimit,
  type Grant,
  grantOf,
  LimitedKey,
  limitUnits,
  Slice,
  type SliceAsk,
  type StoredLimit,
  type StoredSlice,
  shareOf,
  unitsOf,
} from './slices.ts';
import { windowAt } from './windows.ts';

function sliceOf(limit: number, meter: CountedLimit['meter'] = 'tokens'): Slice {
  const window = windowAt('total', 0, 'UTC');
  return new Slice(
    { keyId: 'key_1', name: meter, meter, windowName: 'total', window, isBudget: true },
    limit,
  );
}

/** The database's side of one limit, as the verbs do it. */
class Store {
  limit: StoredLimit = { spent: 0, unknown: 0 };
  readonly slices = new Map<number, StoredSlice>();
  readonly dead = new Set<number>();
  readonly share: number;

  constructor(isShared = true) {
    this.share = shareOf(isShared);
  }

  exchange(gateway: number, ask: SliceAsk): Grant {
    this.dead.delete(gateway);
    const others = [...this.slices]
      .filter(([one]) => one !== gateway && !this.dead.has(one))
      .map(([, slice]) => slice);
    const grant = grantOf(this.limit, this.slices.get(gateway), others, ask, this.share);
    this.limit = { spent: grant.spent, unknown: grant.unknown };
    const { reserved, spent, unknown } = ask;
    this.slices.set(gateway, { held: ask.keeps + grant.extra, reserved, spent, unknown });
    return grant;
  }
}

/** No more than is free. */
function reserve(slice: Slice, amount: number): number {
  const units = Math.min(amount, slice.free);
  slice.reserve(units);
  return units;
}

class Gateway {
  readonly slice: Slice;
  readonly turns: number[] = [];
  readonly id: number;
  spent = 0;

  constructor(id: number, limit: number) {
    this.id = id;
    this.slice = sliceOf(limit);
  }
}

type Step =
  | { readonly type: 'begin' | 'wait'; readonly gateway: number; readonly amount: number }
  | { readonly type: 'end'; readonly gateway: number; readonly share: number }
  | {
      readonly type: 'exchange';
      readonly gateway: number;
      readonly isBusy: boolean;
      readonly lost: 'no' | 'ask' | 'answer';
    }
  | { readonly type: 'late-exchange'; readonly gateway: number; readonly isBusy: boolean }
  | { readonly type: 'kill'; readonly gateway: number };

const gateway = fc.integer({ min: 0, max: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constantFrom('begin', 'wait'),
      gateway,
      amount: fc.integer({ min: 1, max: 400 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('end'),
      gateway,
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('exchange'),
      gateway,
      isBusy: fc.boolean(),
      lost: fc.constantFrom('no', 'no', 'no', 'ask', 'answer'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('late-exchange'), gateway, isBusy: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('kill'), gateway }) },
) as fc.Arbitrary<Step>;

it('several gateways never spend more than the limit, but for what a killed one had in hand', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2_000 }),
      fc.array(step, { maxLength: 150, size: 'max' }),
      (limit, steps) => {
        const store = new Store();
        const gateways = [0, 1, 2].map((id) => new Gateway(id, limit));
        let spent = 0;
        /** Spent by gateways that were killed before the database heard of it. */
        let unheard = 0;
        let next = 3;
        for (const one of steps) {
          const at = gateways[one.gateway] as Gateway;
          const { slice, turns } = at;
          if (one.type === 'begin' || one.type === 'wait') {
            if (!slice.isOpen && one.type === 'wait') {
              slice.waiting = one.amount;
              const ask = slice.ask(true, shareOf(true));
              slice.granted(ask, store.exchange(at.id, ask));
              slice.waiting = 0;
            }
            if (slice.isOpen) turns.push(reserve(slice, one.amount));
          } else if (one.type === 'end') {
            const reserved = turns.pop();
            if (reserved === undefined) continue;
            const used = Math.round(reserved * one.share);
            slice.settle(reserved, used);
            at.spent += used;
            spent += used;
          } else if (one.type === 'exchange') {
            const ask = slice.ask(one.isBusy, shareOf(true));
            if (one.lost === 'ask') continue;
            const grant = store.exchange(at.id, ask);
            if (one.lost === 'no') slice.granted(ask, grant);
          } else if (one.type === 'late-exchange') {
            // Turns begin between question and answer.
            const ask = slice.ask(one.isBusy, shareOf(true));
            if (slice.isOpen) turns.push(reserve(slice, 50));
            slice.granted(ask, store.exchange(at.id, ask));
          } else {
            const running = turns.reduce((sum, reserved) => sum + reserved, 0);
            spent += running;
            unheard += running + at.spent - (store.slices.get(at.id)?.spent ?? 0);
            store.dead.add(at.id);
            gateways[one.gateway] = new Gateway(next, limit);
            next += 1;
          }
          const reserved = gateways
            .flatMap(({ turns: running }) => running)
            .reduce((sum, more) => sum + more, 0);
          expect(spent + reserved).toBeLessThanOrEqual(limit + unheard);
        }
        // All that is left can be had by one gateway once the others are idle.
        for (const { id, slice, turns } of gateways) {
          for (const reserved of turns) slice.settle(reserved, 0);
          const ask = slice.ask(false, 1 / 8);
          slice.granted(ask, store.exchange(id, ask));
          expect(slice.free).toBe(0);
        }
        const [{ id, slice }] = gateways as [Gateway];
        slice.waiting = limit;
        const ask = slice.ask(true, shareOf(true));
        slice.granted(ask, store.exchange(id, ask));
        expect(slice.free).toBe(Math.max(0, limit - store.limit.spent));
        expect(store.limit.spent + unheard).toBeGreaterThanOrEqual(spent);
      },
    ),
    { numRuns: 1_000 },
  );
});

it('an answer that was lost and asked for again counts nothing twice', () => {
  const store = new Store();
  const slice = sliceOf(limitUnits('cost_cents', 100), 'cost_cents');
  const exchange = (isLost = false) => {
    const ask = slice.ask(true, shareOf(true));
    const grant = store.exchange(1, ask);
    if (!isLost) slice.granted(ask, grant);
  };
  slice.waiting = 5;
  exchange();
  slice.waiting = 0;
  slice.settle(reserve(slice, 5), 7, true);
  exchange(true);
  exchange(true);
  exchange();
  expect(store.limit).toEqual({ spent: 7, unknown: 1 });
  expect(slice).toMatchObject({ spent: 7, unknown: 1, isUnsaid: false });
});

it('what a turn took beyond its reservation is owed by its gateway, and no more than that is passed', () => {
  const store = new Store();
  const slices = [1, 2].map((id) => {
    const slice = sliceOf(1_000);
    return { slice, exchange: () => exchange(id, slice) };
  });
  const exchange = (id: number, slice: Slice) => {
    const ask = slice.ask(true, shareOf(true));
    slice.granted(ask, store.exchange(id, ask));
  };
  const [first, second] = slices as [(typeof slices)[0], (typeof slices)[0]];
  first.slice.waiting = 100;
  first.exchange();
  first.slice.waiting = 0;
  first.slice.settle(reserve(first.slice, 100), 990);
  expect(first.slice.isOpen).toBe(false);
  first.exchange();
  second.slice.waiting = 100;
  second.exchange();
  // The first has one of the last ten.
  expect(second.slice.free).toBe(9);
  expect(first.slice.free + second.slice.free).toBe(10);
});

it('a limit that was lowered below what is used, and raised again, counts immediately', () => {
  const store = new Store(false);
  const slice = sliceOf(1_000);
  const exchange = () => {
    const ask = slice.ask(true, store.share);
    slice.granted(ask, store.exchange(1, ask));
  };
  slice.waiting = 1;
  exchange();
  slice.waiting = 0;
  slice.settle(reserve(slice, 600), 600);
  slice.limit = 500;
  expect(slice).toMatchObject({ isOpen: false, isSpent: true });
  exchange();
  expect(slice).toMatchObject({ isOpen: false, free: 0 });
  slice.limit = 700;
  expect(slice).toMatchObject({ isSpent: false, isLow: true });
  exchange();
  expect(slice.free).toBe(100);
});

it('a turn that is larger than what is free takes the rest from the database, and no other begins without it', () => {
  const store = new Store();
  const slice = sliceOf(1_000);
  const exchange = () => {
    const ask = slice.ask(true, store.share);
    slice.granted(ask, store.exchange(1, ask));
  };
  slice.waiting = 1;
  exchange();
  slice.waiting = 0;
  slice.reserve(500);
  expect(slice.isOpen).toBe(false);
  exchange();
  expect(store.slices.get(1)).toMatchObject({ reserved: 500 });
  expect(store.slices.get(1)?.held).toBeGreaterThanOrEqual(500);
  expect(slice.isOpen).toBe(true);
});

it('near its end a limit is not held ahead of need', () => {
  const store = new Store();
  const slice = sliceOf(7, 'requests');
  slice.waiting = 1;
  const ask = slice.ask(true, shareOf(true));
  slice.granted(ask, store.exchange(1, ask));
  expect(slice.free).toBe(1);
});

it.each([
  [undefined, 0],
  [-5, 0],
  [Number.NaN, 0],
  [0.000_000_1, 1],
  [0.25, 250_000],
  [Number.POSITIVE_INFINITY, 100_000_000_000_000],
])('an upstream that says %s cents is counted with %s millionths', (given, units) => {
  expect(unitsOf('cost_cents', given)).toBe(units);
});

it('windows of a key that gets another time zone end where its days do, and what was used stays', () => {
  const now = Date.parse('2026-11-27T07:10:00Z');
  const keyIn = (time_zone?: string) => ({
    keyId: 'key_1',
    name: 'key',
    limits: {
      budgets: [{ meter: 'requests', window: 'day', limit: 5 } as const],
      ...(time_zone !== undefined && { time_zone }),
    },
  });
  const key = new LimitedKey(keyIn());
  key.use(now, 0);
  key.current[0]?.settle(0, 2);
  key.configure(keyIn('Asia/Tokyo'), now);
  const [today] = key.current;
  expect(today?.spent).toBe(2);
  expect(new Date(today?.counted.window.endsAt ?? 0).toISOString()).toBe('2026-11-27T15:00:00.000Z');
});
