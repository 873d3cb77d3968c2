import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import type { ProviderModel, UpstreamProvider } from '../../core/provider.ts';
import { type LendingPool, startLendingPool } from '../../pool/testing/lending-pool.ts';
import { LeaseCache } from '../leases/lease-cache.ts';
import { createLineProvider } from '../testing/fake-upstream.ts';
import { createManualClock, type ManualClock, settled } from '../testing/manual-clock.ts';
import { silentLogger, until } from '../testing/turn-fixture.ts';
import { createModelLists, type ModelLists } from './model-lists.ts';

let clock: ManualClock;
let pool: LendingPool;
let leases: LeaseCache;
let models: ModelLists;
let asked: string[];
let lists: Record<string, readonly ProviderModel[] | Promise<readonly ProviderModel[]>>;
let provider: UpstreamProvider;

beforeEach(async () => {
  clock = createManualClock();
  pool = await startLendingPool(clock);
  leases = new LeaseCache(pool, clock, silentLogger);
  models = createModelLists(leases, clock, silentLogger);
  asked = [];
  lists = {};
  provider = {
    ...createLineProvider(() => 'http://127.0.0.1:9'),
    listModels: async ({ bearer }) => {
      const id = bearer.replace('bearer-of-', '');
      asked.push(id);
      const list = await lists[id];
      if (!list) throw new AppError('upstream_unavailable', 'No list.');
      return list;
    },
  };
});
afterEach(async () => {
  await leases.close();
  await pool.close();
});

async function account(id: string, ...list: (string | ProviderModel)[]): Promise<void> {
  await pool.add(id);
  lists[id] = list.map((model) => (typeof model === 'string' ? { id: model } : model));
}

async function known(): Promise<string[]> {
  const list = await models.get(provider);
  await settled();
  return list.models.map(({ id }) => id);
}

describe('accounts with lists of their own', () => {
  it('count as far as a list can be gone through for each request', async () => {
    const ids = Array.from({ length: 100_000 }, (_, index) => `m${index}`);
    await account('one', 'x'.repeat(1_000_000), ...ids);
    await known();
    expect(await known()).toEqual(ids.slice(0, 1_000));
    await account('two', ...ids.map((id) => `other-${id}`));
    await clock.advance(11 * 60_000);
    await known();
    expect(await known()).toHaveLength(1_000);
  });

  it('are all asked, and what counts is everything any of them may use', async () => {
    await account('one', 'auto', 'small');
    await account('two', 'auto', 'big');
    await known();
    expect(await known()).toEqual(['auto', 'small', 'big']);
    expect(asked).toEqual(['one', 'two']);
    const { barred, isProven } = await models.get(provider);
    expect(isProven).toBe(true);
    expect(barred).toEqual(
      new Map([
        ['small', new Set(['two'])],
        ['big', new Set(['one'])],
      ]),
    );
  });

  it('serve a turn once the first has answered, while the others are still asked', async () => {
    const second = Promise.withResolvers<readonly ProviderModel[]>();
    await account('one', 'auto');
    await account('two');
    lists['two'] = second.promise;
    expect(await known()).toEqual(['auto']);
    second.resolve([{ id: 'auto' }, { id: 'late' }]);
    await settled();
    expect(await known()).toEqual(['auto', 'late']);
  });

  it('count without one that does not answer', async () => {
    await account('one', 'auto');
    await account('two');
    delete lists['one'];
    lists['two'] = [{ id: 'auto' }, { id: 'big' }];
    expect(await known()).toEqual(['auto', 'big']);
  });

  it('are asked ten at a time, and the others by the next looks, so that in time all are known', async () => {
    for (let number = 0; number < 14; number += 1) await account(`a${number}`, 'auto', `own-${number}`);
    await known();
    expect(asked).toHaveLength(10);
    await clock.advance(61_000);
    await models.getFresh(provider);
    expect(asked).toHaveLength(14);
    expect(await known()).toHaveLength(15);
  });

  it('count whole again once the owner has changed an account that was refused one', async () => {
    await account('one', 'auto', 'big');
    await known();
    models.refused(provider, 'big', 'one');
    expect(await known()).toEqual(['auto']);
    models.accountChanged('two');
    expect(await known()).toEqual(['auto']);
    models.accountChanged('one');
    expect(await known()).toEqual(['auto', 'big']);
  });

  it('do not count where the account is removed while it is asked', async () => {
    await account('one', 'auto');
    await account('two');
    const slow = Promise.withResolvers<readonly ProviderModel[]>();
    lists['two'] = slow.promise;
    await known();
    await until(() => asked.includes('two'));
    models.accountRemoved('two');
    slow.resolve([{ id: 'auto' }, { id: 'big' }]);
    await settled();
    expect(await known()).toEqual(['auto']);
  });

  it('count no more once the account is removed, and others are asked when none is left', async () => {
    await account('one', 'auto', 'small');
    await account('two', 'auto', 'big');
    await known();
    delete lists['one'];
    models.accountRemoved('one');
    expect(await known()).toEqual(['auto', 'big']);
    expect((await models.get(provider)).barred).toEqual(new Map());
    delete lists['two'];
    models.accountRemoved('two');
    await account('three', 'auto', 'other');
    await known();
    expect(await known()).toEqual(['auto', 'other']);
  });

  it('are asked for again when another team of an account pays', async () => {
    await account('one', 'auto', 'small');
    await known();
    const { account: before } = await leases.acquire({
      provider: 'warp',
      model: undefined,
      exclude: new Set(),
      deadline: clock.now(),
      signal: new AbortController().signal,
    });
    models.noteTeam(provider, before);
    await settled();
    expect(asked).toEqual(['one']);
    lists['one'] = [{ id: 'auto' }, { id: 'big' }];
    models.noteTeam(provider, { ...before, team_uid: 'team-2' });
    await settled();
    expect(asked).toEqual(['one', 'one']);
    expect(await known()).toEqual(['auto', 'big']);
  });

  it('are forgotten when they have not been there for an hour', async () => {
    await account('one', 'auto', 'small');
    await account('two', 'auto', 'big');
    await known();
    await pool.remove('one');
    await clock.advance(11 * 60_000);
    await known();
    expect(await known()).toEqual(['auto', 'small', 'big']);
    await clock.advance(50 * 60_000);
    await known();
    expect(await known()).toEqual(['auto', 'big']);
  });
});

describe('a model that is kept back', () => {
  const plan = { reason: 'no plan', isPassing: false };
  const outage = { reason: 'outage', isPassing: true };

  it('is left out where no account may use it, and told apart from one nobody knows', async () => {
    await account('one', 'auto', { id: 'big', withheld: plan });
    await account('two', 'auto');
    await known();
    expect(await known()).toEqual(['auto']);
    expect((await models.get(provider)).withheld).toEqual([{ id: 'big', withheld: plan }]);
  });

  it('is offered where one account may use it, and asked of that one', async () => {
    await account('one', 'auto', { id: 'big', withheld: plan });
    await account('two', 'auto', 'big');
    await known();
    expect(await known()).toEqual(['auto', 'big']);
    expect((await models.get(provider)).barred.get('big')).toEqual(new Set(['one']));
  });

  it('stays offered through an outage, and is asked of whoever has none', async () => {
    await account('one', 'auto', { id: 'big', withheld: outage });
    await known();
    expect(await known()).toEqual(['auto', 'big']);
    expect((await models.get(provider)).barred.get('big')).toBeUndefined();
    await account('two', 'auto', 'big');
    await clock.advance(61_000);
    await models.getFresh(provider);
    expect((await models.get(provider)).barred.get('big')).toEqual(new Set(['one']));
  });
});

describe('a list', () => {
  beforeEach(() => account('one', 'auto'));

  it('is kept for ten minutes, then serves once more while it is asked anew', async () => {
    await known();
    await clock.advance(9 * 60_000);
    await known();
    expect(asked).toHaveLength(1);
    await clock.advance(2 * 60_000);
    lists['one'] = [{ id: 'auto' }, { id: 'new' }];
    expect(await known()).toEqual(['auto']);
    expect(await known()).toEqual(['auto', 'new']);
    expect(asked).toHaveLength(2);
  });

  it('is asked for by one of many turns that need it', async () => {
    await Promise.all(Array.from({ length: 20 }, () => models.get(provider)));
    expect(asked).toHaveLength(1);
  });

  it('said to be out of date is asked for at once, then at most once a minute', async () => {
    await known();
    await clock.advance(70_000);
    for (let count = 0; count < 5; count += 1) models.outdated(provider);
    await settled();
    expect(asked).toHaveLength(2);
    models.outdated(provider);
    await known();
    expect(asked).toHaveLength(2);
    await clock.advance(61_000);
    await known();
    expect(asked).toHaveLength(3);
  });

  it('that went out of date while it was asked for is asked for again a minute later', async () => {
    const answer = Promise.withResolvers<readonly ProviderModel[]>();
    lists['one'] = answer.promise;
    const first = known();
    await settled();
    models.outdated(provider);
    answer.resolve([{ id: 'auto' }]);
    expect(await first).toEqual(['auto']);
    await clock.advance(61_000);
    await known();
    expect(asked).toHaveLength(2);
  });

  it('that nobody gives is a guess, and asked for again after half a minute', async () => {
    delete lists['one'];
    expect(await known()).toEqual(['auto']);
    expect((await models.get(provider)).isProven).toBe(false);
    expect(asked).toHaveLength(1);
    await clock.advance(31_000);
    await known();
    expect(asked).toHaveLength(2);
  });

  it('does not hold a turn for longer than three seconds', async () => {
    lists['one'] = new Promise(() => {});
    const waiting = models.get(provider);
    await clock.advance(3_000);
    expect(await waiting).toMatchObject({ models: [{ id: 'auto' }], isProven: false });
  });
});
