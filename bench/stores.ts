import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { Client } from 'pg';
import { openSqlite } from '../src/db/sqlite.ts';
import { SqliteDatabase } from '../src/db/sqlite-database.ts';
import { systemClock } from '../src/lib/clock.ts';
import { openStore } from '../src/pool/store/open-store.ts';
import { migrations } from '../src/pool/store/sqlite/sqlite-store.ts';
import type { LeaseDemand, NewStoredAccount, Store } from '../src/pool/store/store.ts';
import { addAccount } from '../src/pool/store/verbs/accounts.ts';
import { Transaction } from '../src/pool/store/verbs/transaction.ts';
import { testAccount, testDemand } from '../src/pool/testing/test-pool.ts';
import { median, quantile, ratios, type Spread, show, showSpread, table } from './figures.ts';

interface StoreFigures {
  readonly accounts: number;
  readonly fillMs: number;
  /** How long opening takes where the accounts are there already. */
  readonly openMs: number;
  /** Microseconds of one allocation, and of one release, each with the way to the store's thread and back. */
  readonly allocateP50: number;
  readonly allocateP99: number;
  readonly releaseP50: number;
  readonly releaseP99: number;
  /** Allocations, each with its release, a second, with 32 on their way at a time. */
  readonly pairsPerSecond: number;
  readonly statusP50: number;
  readonly statusMax: number;
  /** Median time of an allocation against that of the smallest store, round by round. */
  readonly ratio: Spread;
}

interface Measured {
  readonly accounts: number;
  readonly fillMs: number;
  readonly openMs: number;
  readonly store: Store;
  readonly allocateUs: number[];
  readonly releaseUs: number[];
  readonly statusUs: number[];
  readonly medians: number[];
  readonly rates: number[];
}

const inFlight = 32;

/** Makes a database of so many accounts; answers its DATABASE_URL. */
export type Fill = (accounts: number) => Promise<string>;

/** Allocates and releases on stores of several sizes, in turn, opened as the service opens them. */
export async function measureStores(
  fill: Fill,
  sizes: readonly number[],
  { rounds, count }: { readonly rounds: number; readonly count: number },
): Promise<readonly StoreFigures[]> {
  const all: Measured[] = [];
  try {
    for (const accounts of sizes) all.push(await openFilled(fill, accounts));
    for (const { store } of all) await allocateOneByOne(store, count, [], []);
    for (let round = 0; round < rounds; round += 1) {
      for (const measured of all) await measureRound(measured, count);
    }
  } finally {
    await Promise.all(all.map(({ store }) => store.close()));
  }
  const base = all[0]?.medians ?? [];
  return all.map((measured) => ({
    accounts: measured.accounts,
    fillMs: measured.fillMs,
    openMs: measured.openMs,
    allocateP50: quantile(measured.allocateUs, 0.5),
    allocateP99: quantile(measured.allocateUs, 0.99),
    releaseP50: quantile(measured.releaseUs, 0.5),
    releaseP99: quantile(measured.releaseUs, 0.99),
    pairsPerSecond: median(measured.rates),
    statusP50: quantile(measured.statusUs, 0.5),
    statusMax: Math.max(...measured.statusUs),
    ratio: ratios(measured.medians, base),
  }));
}

async function openFilled(fill: Fill, accounts: number): Promise<Measured> {
  const startedAt = performance.now();
  const url = await fill(accounts);
  const filledAt = performance.now();
  const store = await openStore(url, {
    clock: systemClock,
    onLost(error) {
      throw error;
    },
  });
  const { total } = await store.stats(systemClock.now());
  const openMs = performance.now() - filledAt;
  if (total !== accounts) throw new Error(`the store holds ${total} accounts instead of ${accounts}`);
  return {
    accounts,
    fillMs: filledAt - startedAt,
    openMs,
    store,
    allocateUs: [],
    releaseUs: [],
    statusUs: [],
    medians: [],
    rates: [],
  };
}

/** SQLite files in a folder, filled as the pool would add accounts, but many to a transaction. */
export function fillSqlite(folder: string): Fill {
  return async (accounts) => {
    const path = join(folder, `accounts-${accounts}.db`);
    const now = systemClock.now();
    const database = new SqliteDatabase(openSqlite(path, migrations, now));
    try {
      for (let start = 0; start < accounts; start += 1_000) {
        await database.transaction(async (queries) => {
          const tx = new Transaction(queries, now, { auditsLeases: true, isShared: false });
          const end = Math.min(accounts, start + 1_000);
          for (let number = start; number < end; number += 1)
            await addAccount(tx, newAccount(number), 'bench');
        });
      }
    } finally {
      await database.close();
    }
    return `sqlite:${path}`;
  };
}

/** Databases of a PostgreSQL server: one account added by the pool, the others copied from it. */
export function fillPostgres(urlOf: (database: string) => string): Fill {
  return async (accounts) => {
    const name = `bench_${accounts}`;
    const maintenance = new Client({ connectionString: urlOf('postgres') });
    await maintenance.connect();
    await maintenance.query(`CREATE DATABASE ${name}`);
    await maintenance.end();
    const url = urlOf(name);
    const store = await openStore(url, { clock: systemClock, onLost: () => {} });
    await store.addAccount(systemClock.now(), newAccount(0), 'bench');
    await store.close();
    const client = new Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query<{ column_name: string }>(
      `SELECT column_name FROM information_schema.columns WHERE table_name = 'accounts'
         AND is_generated = 'NEVER' AND column_name NOT IN ('seq', 'id', 'credential_fingerprint')`,
    );
    const columns = rows.map((row) => row.column_name).join(', ');
    await client.query(
      `INSERT INTO accounts (id, credential_fingerprint, ${columns})
       SELECT 'acc_' || number, 'fingerprint-' || number, ${columns}
       FROM accounts, generate_series(1, $1::int - 1) AS number`,
      [accounts],
    );
    await client.query('VACUUM ANALYZE');
    await client.end();
    return url;
  };
}

async function measureRound(measured: Measured, count: number): Promise<void> {
  const { store, allocateUs, releaseUs, statusUs, medians, rates } = measured;
  const before = allocateUs.length;
  await allocateOneByOne(store, count, allocateUs, releaseUs);
  medians.push(median(allocateUs.slice(before)));

  const startedAt = performance.now();
  const each = Math.ceil(count / inFlight);
  await Promise.all(Array.from({ length: inFlight }, () => allocateOneByOne(store, each, [], [])));
  rates.push((each * inFlight * 1000) / (performance.now() - startedAt));

  for (let time = 0; time < 20; time += 1) {
    const askedAt = performance.now();
    await store.stats(systemClock.now());
    statusUs.push((performance.now() - askedAt) * 1000);
  }
}

async function allocateOneByOne(
  store: Store,
  count: number,
  allocateUs: number[],
  releaseUs: number[],
): Promise<void> {
  for (let time = 0; time < count; time += 1) {
    const demand = newDemand();
    const startedAt = performance.now();
    const answer = await store.ensureLeases(systemClock.now(), demand);
    const grantedAt = performance.now();
    if (answer.result !== 'granted' || answer.leases.length !== 1) {
      throw new Error(`an allocation was answered ${answer.result}`);
    }
    const { sessionId } = demand;
    const given = await store.release(systemClock.now(), { sessionId, keyId: 'bench', leases: null });
    releaseUs.push((performance.now() - grantedAt) * 1000);
    allocateUs.push((grantedAt - startedAt) * 1000);
    if (given?.released !== 1) throw new Error('a lease was not given back');
  }
}

function newDemand(): LeaseDemand {
  return testDemand(randomUUID(), { owner: { keyId: 'bench', isGateway: false }, provider: 'warp' });
}

function newAccount(number: number): NewStoredAccount {
  return testAccount(`acc_${number}`, {
    credential: { sealed: 'x'.repeat(120), fingerprint: `fingerprint-${number}`, hint: '****' },
  });
}

export function showStores(name: string, figures: readonly StoreFigures[]): void {
  console.log(
    `${table(
      [
        `accounts in ${name}`,
        'allocate p50 us',
        'p99 us',
        'release p50 us',
        'p99 us',
        'times the smallest',
        'pairs/s, 32 at once',
        'status p50 us',
        'worst us',
        'open ms',
      ],
      figures.map((figure) => [
        figure.accounts.toLocaleString('en-US'),
        show(figure.allocateP50),
        show(figure.allocateP99),
        show(figure.releaseP50),
        show(figure.releaseP99),
        showSpread(figure.ratio),
        show(figure.pairsPerSecond),
        show(figure.statusP50),
        show(figure.statusMax),
        show(figure.openMs),
      ]),
    )}\n`,
  );
}
