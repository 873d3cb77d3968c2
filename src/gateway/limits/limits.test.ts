import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it as itself, onTestFinished } from 'vitest';
import type { AppError } from '../../core/errors.ts';
import { inOneMinute } from '../../core/testing/one-minute.ts';
import { openPostgres } from '../../db/postgres.ts';
import { newDatabase } from '../../db/testing/shared-postgres.ts';
import { systemClock } from '../../lib/clock.ts';
import { createLogger } from '../../lib/log/logger.ts';
import { GatewayDatabase } from '../database/gateway-database.ts';
import type { KeyLimits, ManagedKey } from '../keys/client-key.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import type { Allowance } from './allowance.ts';
import { Limits, type LimitsDatabase } from './limits.ts';

/** Limits are counted by minutes and days of the calendar. */
const it = (name: string, task: () => Promise<void>) =>
  itself(name, () =>
    inOneMinute(() => {
      lines = [];
      return task();
    }),
  );

let lines: Record<string, unknown>[] = [];
const logger = () =>
  createLogger('INFO', { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) });

let keys = 0;
function keyWith(limits: Partial<KeyLimits>): ManagedKey {
  keys += 1;
  return {
    keyId: `key_${keys}`,
    name: `key ${keys}`,
    owner: null,
    models: null,
    providers: null,
    labels: null,
    limits: { budgets: [], ...limits },
    expiresAt: null,
    isEnabled: true,
    revision: 1,
  };
}

const budget = (limit: number, window: 'day' | 'total' = 'day') =>
  keyWith({ budgets: [{ meter: 'tokens', window, limit }] });

/** What databases were asked and have not answered yet. */
const pending = new Set<Promise<unknown>>();
async function quiet(): Promise<void> {
  while (pending.size > 0) await Promise.allSettled(pending);
}

/** A gateway as far as limits are concerned; at a time of the test's choosing, or now. */
async function gateway(url: string, clock: ManualClock | typeof systemClock = systemClock) {
  const database = await GatewayDatabase.open({ url, clock, logger: logger() });
  const watched: LimitsDatabase = {
    isShared: database.isShared,
    ask(question) {
      const answer = database.ask(question);
      pending.add(answer);
      const remove = () => void pending.delete(answer);
      answer.then(remove, remove);
      return answer;
    },
  };
  // On a busy machine the database may take seconds.
  const limits = new Limits(watched, clock, logger(), clock === systemClock ? 30_000 : undefined);
  let isClosed = false;
  /** As if it was killed: nothing is given back. */
  const die = async () => {
    if (isClosed) return;
    isClosed = true;
    await database.close();
  };
  const close = async () => {
    await limits.close();
    await die();
  };
  // One that died would go on asking, in the other tests of this process.
  onTestFinished(close);
  return {
    limits,
    close,
    die,
    async reserve(managed: ManagedKey, tokens = 100, more: { choices?: number; costCents?: number } = {}) {
      const key = limits.keyOf({ id: 'client', managed });
      if (!key) throw new Error('The key has no limits.');
      const turn = {
        requestId: 'r',
        dialect: 'chat' as const,
        choices: 1,
        tokens,
        costCents: undefined,
        ...more,
      };
      return limits.reserve(key, turn);
    },
    /** What the database has of turns that ended; gateways gather it for a while. */
    async kept({ keyId }: ManagedKey) {
      const rows = await database.ask((verbs) => verbs.usedLimits('an observer', [keyId]));
      return rows.map(({ spent }) => spent);
    },
    async used(managed: ManagedKey) {
      return (await limits.uses([managed])).get(managed.keyId)?.map(({ used }) => used);
    },
  };
}
/** What `task` answers, while time passes; none does while a database works, however long a busy machine takes for that. */
async function passing<Value>(clock: ManualClock, task: Promise<Value>): Promise<Value> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  task.then(over, over);
  while (!isOver) {
    await clock.advance(5);
    await quiet();
  }
  return task;
}

type TestGateway = Awaited<ReturnType<typeof gateway>>;

function end(
  allowance: Allowance,
  tokens: number,
  more: { costCents?: number; attempts?: number } = {},
): void {
  const usage = tokens === 0 ? undefined : { inputTokens: tokens - 1, outputTokens: 1 };
  allowance.settle({ usage, costCents: undefined, attempts: 1, isGood: true, ...more });
}

/** Turns that are begun together and end a little later, until one is refused. */
async function storm(gateways: readonly TestGateway[], key: ManagedKey, turns: number, tokens: number) {
  const outcomes = await Promise.all(
    Array.from({ length: turns }, async (_, at) => {
      try {
        const allowance = await (gateways[at % gateways.length] as TestGateway).reserve(key, tokens);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
        end(allowance, tokens);
        return 'good';
      } catch (error) {
        return (error as AppError).code;
      }
    }),
  );
  return outcomes.filter((outcome) => outcome === 'good').length;
}

const databases = {
  SQLite: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-limits-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    return `sqlite:${join(folder, 'usage.db')}`;
  },
  PostgreSQL: () => newDatabase(),
};

describe.each(Object.entries(databases))('limits counted in %s', (_name, open) => {
  it('end a budget when it is used up, and begin it again with the next window', async () => {
    const clock = createManualClock(Date.parse('2026-11-26T22:59:00Z'));
    const url = await open();
    const { reserve, used } = await gateway(url, clock);
    const key = keyWith({
      budgets: [{ meter: 'tokens', window: 'day', limit: 250 }],
      time_zone: 'Europe/Berlin',
    });
    for (let turn = 0; turn < 2; turn += 1) end(await passing(clock, reserve(key)), 125);
    expect(await used(key)).toEqual([250]);
    await expect(passing(clock, reserve(key))).rejects.toMatchObject({
      code: 'key_quota_exhausted',
      retryAfterSeconds: 60,
      message: expect.stringContaining('250 tokens per day. It begins again at 2026-11-26T23:00:00.000Z'),
    });
    await clock.advance(60_000);
    expect(await used(key)).toEqual([0]);
    end(await passing(clock, reserve(key)), 100);
    expect(await used(key)).toEqual([100]);
  });

  it('survive a restart, and a gateway that was killed', async () => {
    const url = await open();
    const key = budget(1_000);
    const killed = await gateway(url);
    end(await killed.reserve(key), 300);
    await expect.poll(() => killed.kept(key)).toEqual([300]);
    await killed.die();
    const next = await gateway(url);
    expect(await next.used(key)).toEqual([300]);
    end(await next.reserve(key), 300);
    await next.close();
    const last = await gateway(url);
    expect(await last.used(key)).toEqual([600]);
    end(await last.reserve(key), 400);
    await expect(last.reserve(key)).rejects.toMatchObject({ code: 'key_quota_exhausted' });
  });

  it('ask the database only when the key was idle here, and make ready for the next minute', async () => {
    const clock = createManualClock(Date.parse('2026-11-26T12:00:30Z'));
    const { limits, reserve } = await gateway(await open(), clock);
    const managed = keyWith({ requests_per_minute: 1_000, tokens_per_minute: 1_000_000 });
    end(await passing(clock, reserve(managed)), 10);
    const key = limits.keyOf({ id: 'client', managed });
    const turn = { requestId: 'r', dialect: 'chat' as const, choices: 1, tokens: 100, costCents: undefined };
    let waits = 0;
    for (let second = 0; second < 90; second += 1) {
      const reserved = limits.reserve(key as NonNullable<typeof key>, turn);
      if (reserved instanceof Promise) waits += 1;
      end(await passing(clock, Promise.resolve(reserved)), 100);
      for (let step = 0; step < 10; step += 1) {
        await clock.advance(100);
        await quiet();
      }
    }
    expect(waits).toBe(0);
  });

  it('hold for the next turn when they were lowered, also below what runs or was taken ahead', async () => {
    const { reserve } = await gateway(await open());
    const key = keyWith({ parallel_turns: 3, requests_per_minute: 1_000 });
    const running = [await reserve(key), await reserve(key)];
    const lower = { ...key, limits: { budgets: [], parallel_turns: 1, requests_per_minute: 3 } };
    await expect(reserve(lower)).rejects.toThrow('1 turns');
    for (const turn of running) end(turn, 5);
    end(await reserve(lower), 5);
    await expect(reserve(lower)).rejects.toThrow('3 requests');
  });

  it('count running turns, and free their places whatever became of them', async () => {
    const { reserve, used } = await gateway(await open());
    const key = keyWith({ parallel_turns: 2 });
    const first = await reserve(key);
    const second = await reserve(key, 100, { choices: 2 });
    expect(await used(key)).toEqual([2]);
    await expect(reserve(key)).rejects.toMatchObject({ code: 'key_rate_limited', retryAfterSeconds: 1 });
    end(second, 5);
    await expect(reserve(key)).rejects.toMatchObject({ code: 'key_rate_limited' });
    end(second, 5);
    const third = await reserve(key);
    first.release();
    third.release();
    expect(await used(key)).toEqual([0]);
  });

  it('refuse what running turns may still take, and give back what they did not', async () => {
    const { reserve, used } = await gateway(await open());
    const key = budget(1_000);
    const running = await reserve(key, 5_000);
    await expect(reserve(key)).rejects.toMatchObject({
      code: 'key_rate_limited',
      retryAfterSeconds: 2,
      message: expect.stringContaining('reserved for its running turns'),
    });
    end(running, 10);
    end(await reserve(key, 5_000), 1_200);
    expect(await used(key)).toEqual([1_210]);
    await expect(reserve(key)).rejects.toMatchObject({ code: 'key_quota_exhausted' });
  });

  it('charge a budget nothing for a turn that reached no upstream, but a rate its request', async () => {
    const { reserve, used } = await gateway(await open());
    const key = keyWith({
      requests_per_minute: 10,
      budgets: [{ meter: 'requests', window: 'day', limit: 10 }],
    });
    (await reserve(key)).release();
    expect(await used(key)).toEqual([1, 0]);
    // Its first request is one more in the next minute.
    end(await reserve(key), 0);
    expect((await used(key))?.[1]).toBe(1);
  });

  it('show turns whose cost is not known, and count those that are', async () => {
    const { limits, reserve } = await gateway(await open());
    const key = keyWith({ budgets: [{ meter: 'cost_cents', window: 'total', limit: 1 }] });
    end(await reserve(key), 10);
    end(await reserve(key, 100, { costCents: 0.4 }), 10, { costCents: 0.25 });
    expect((await limits.uses([key])).get(key.keyId)).toEqual([
      { meter: 'cost_cents', window: 'total', limit: 1, used: 0.25, unpriced_turns: 1, resets_at: null },
    ]);
  });

  it('say once when 80 % of a budget and when all of it is used', async () => {
    const { reserve, kept } = await gateway(await open());
    const key = budget(100);
    end(await reserve(key, 1), 79);
    await expect.poll(() => kept(key)).toEqual([79]);
    await quiet();
    expect(near()).toEqual([]);
    end(await reserve(key, 1), 1);
    await expect.poll(near).toHaveLength(1);
    for (const tokens of [5, 30]) end(await reserve(key, 1), tokens);
    await expect.poll(near).toHaveLength(2);
    await expect(reserve(key)).rejects.toMatchObject({ code: 'key_quota_exhausted' });
    const fields = { key: key.name, key_id: key.keyId, budget: 'tokens per day', limit: 100 };
    expect(near()).toEqual([
      expect.objectContaining({ ...fields, used: 80, msg: 'a client key has used 80 % of a budget' }),
      expect.objectContaining({ ...fields, used: 115, msg: 'a client key has used up a budget' }),
    ]);
  });
});

const near = () => lines.filter(({ budget }) => budget !== undefined);

describe('several gateways', () => {
  it('share a budget: turns that come together overspend by nothing, and use all of it', async () => {
    const url = await newDatabase();
    const gateways = [await gateway(url), await gateway(url)];
    const requests = keyWith({ budgets: [{ meter: 'requests', window: 'day', limit: 40 }] });
    // Not a whole number of turns: the last one of each gateway may begin with less than it takes.
    const tokens = budget(1_010);
    for (const [key, least, most, each] of [
      [requests, 40, 40, 1],
      [tokens, 1_010, 1_050, 25],
    ] as const) {
      let good = 0;
      for (let round = 0; round < 3; round += 1) good += await storm(gateways, key, 50, 25);
      await expect.poll(() => gateways[0]?.kept(key)).toEqual([good * each]);
      expect(good * each).toBeGreaterThanOrEqual(least);
      expect(good * each).toBeLessThanOrEqual(most);
    }
  });

  it('give a turn that waits what came for it, however slow the database is', async () => {
    const { limits, reserve } = await gateway(await newDatabase());
    for (let round = 0; round < 20; round += 1) {
      const key = keyWith({ budgets: [{ meter: 'requests', window: 'total', limit: 10 }] });
      for (let turn = 0; turn < 10; turn += 1) {
        const allowance = await reserve(key);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 12));
        end(allowance, 10);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 12));
      }
    }
    expect(limits.refused.size).toBe(0);
  });

  it('count running turns together', async () => {
    const url = await newDatabase();
    const gateways = [await gateway(url), await gateway(url)];
    const key = keyWith({ parallel_turns: 5 });
    const turns = await Promise.allSettled(
      Array.from({ length: 20 }, (_, at) => (gateways[at % 2] as TestGateway).reserve(key)),
    );
    const running = turns.flatMap((turn) => (turn.status === 'fulfilled' ? [turn.value] : []));
    expect(running).toHaveLength(5);
    for (const turn of running) end(turn, 1);
    // What the first holds it gives back to the second.
    for (let at = 0; at < 5; at += 1) await gateways[1]?.reserve(key);
    await expect.poll(() => gateways[0]?.used(key)).toEqual([5]);
  });

  it('get back what one held of a limit that the key had for a while', async () => {
    const url = await newDatabase();
    const [one, other] = [await gateway(url), await gateway(url)];
    const key = keyWith({ budgets: [{ meter: 'requests', window: 'total', limit: 100 }] });
    end(await one.reserve(key), 10);
    const without = { ...key, limits: { budgets: [], tokens_per_minute: 1_000 } };
    end(await one.reserve(without), 10);
    for (let turn = 0; turn < 99; turn += 1) end(await other.reserve(key), 10);
    await expect(other.reserve(key)).rejects.toMatchObject({ code: 'key_quota_exhausted' });
  });

  it('get back what a killed one held, after a while', async () => {
    const url = await newDatabase();
    const [killed, other] = [await gateway(url), await gateway(url)];
    const key = budget(1_000);
    await killed.reserve(key, 1_000);
    await killed.die();
    await expect(other.reserve(key)).rejects.toMatchObject({ code: 'key_rate_limited' });
    const db = await openPostgres(url);
    await db.writing.run('UPDATE limit_gateways SET seen_at = seen_at - 31000');
    await db.close();
    end(await other.reserve(key, 1_000), 1_000);
    expect(await other.used(key)).toEqual([1_000]);
  });

  it('go on with what they hold while the database is away, then refuse with 503', async () => {
    const url = await newDatabase();
    const { limits, reserve, kept, die } = await gateway(url);
    const key = budget(1_000);
    end(await reserve(key, 1), 1);
    await expect.poll(() => kept(key)).toEqual([1]);
    await quiet();
    await die();
    let good = 0;
    const refused = await (async () => {
      for (;;) {
        end(await reserve(key, 10), 10);
        good += 1;
      }
    })().catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'storage_unavailable', retryAfterSeconds: 5 });
    expect(good).toBeGreaterThan(10);
    expect(good).toBeLessThan(20);
    await limits.close();
  });
});
