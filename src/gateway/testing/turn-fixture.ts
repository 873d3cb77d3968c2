import { pino } from 'pino';
import { Agent } from 'undici';
import type { AppError } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { AskedRequest, TurnEvent } from '../../core/turn.ts';
import { type Clock, ListeningTime } from '../../lib/clock.ts';
import { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import { SchemaChecker } from '../emulation/json-schema.ts';
import { AccountLimits } from '../leases/account-limits.ts';
import { LeaseCache } from '../leases/lease-cache.ts';
import { PoolWatch } from '../leases/pool-watch.ts';
import { Reporter } from '../leases/reporter.ts';
import { KnownRefusals } from '../models/known-refusals.ts';
import { createModelLists } from '../models/model-lists.ts';
import { Routes } from '../models/routing.ts';
import { TurnRecord, TurnRecords } from '../records/turn-record.ts';
import type { BackgroundResponsesOptions } from '../responses/background-responses.ts';
import { BufferedStore } from '../state/buffered-store.ts';
import { Affinity } from '../turn/affinity.ts';
import type { ClientTurn, ClientTurns, TurnDependencies } from '../turn/client-turns.ts';
import { Conversations, RememberedReasoning } from '../turn/conversations.ts';
import { RunningTurns, TurnSignal } from '../turn/running-turns.ts';
import type { TurnOutput } from '../turn/turn-output.ts';
import { Circuits, ProviderReach } from '../turn/upstream-health.ts';
import { createFakePool, type FakePool } from './fake-pool.ts';
import { createLineProvider, type FakeUpstream, startFakeUpstream } from './fake-upstream.ts';
import { createManualClock, type ManualClock, settled } from './manual-clock.ts';

/** Everything a turn needs, real but for the pool, the clock and the upstream's protocol. */
export interface TurnFixture {
  readonly clock: ManualClock;
  readonly pool: FakePool;
  readonly upstream: FakeUpstream;
  readonly poolWatch: PoolWatch;
  readonly turns: TurnDependencies;
  /** False: no connection to the upstream can be made. */
  setReachable(isReachable: boolean): void;
  /** Moves time on in small steps, in which connections are made and refused. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

/** A turn of one client, who asks for nothing but the request. */
export function clientTurn(request: AskedRequest, change: Partial<ClientTurn> = {}): ClientTurn {
  return {
    protocol: 'chat',
    decoded: { request, isStream: true, options: undefined, ignored: [] },
    bytes: 0,
    client: { id: 'me' },
    affinityKey: undefined,
    requestId: 'r',
    wantsUsage: false,
    images: undefined,
    record: new TurnRecords(createManualClock()).begin({
      requestId: 'r',
      client: { id: 'me' },
      dialect: 'chat',
      model: request.model,
      isStream: true,
    }),
    signal: new TurnSignal(),
    ...change,
  };
}

/** Keeps what its client would see. */
export class SeenOutput implements TurnOutput {
  readonly isBuffered: boolean = false;
  readonly status = 200;
  batches: (readonly TurnEvent[])[] = [];

  get events(): TurnEvent[] {
    return this.batches.flat();
  }
  get text(): string {
    return this.events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
  }
  begin(): void {}
  write(events: readonly TurnEvent[]): Promise<void> | undefined {
    this.batches.push(events);
    return undefined;
  }
  finish(_answer: CollectedTurn, events: readonly TurnEvent[]): void {
    this.batches.push(events);
  }
  fail(_error: AppError, events: readonly TurnEvent[]): void {
    this.batches.push(events);
  }
}

export const silentLogger = pino({ level: 'silent' });

export async function createTurnFixture(aliases: Record<string, string> = {}): Promise<TurnFixture> {
  const clock = createManualClock();
  const pool = createFakePool(clock);
  const upstream = await startFakeUpstream();
  const poolWatch = new PoolWatch(pool, clock);
  await poolWatch.look();
  const leases = new LeaseCache(pool, clock, silentLogger);
  const reporter = new Reporter(pool, leases.held, clock, silentLogger);
  const dispatcher = new Agent({ connections: null, pipelining: 1 });
  const models = createModelLists(leases, clock, silentLogger);
  const routes = new Routes({
    providers: [createLineProvider(() => (isReachable ? upstream.url : unreachableUrl))],
    sandbox: createLineProvider(() => upstream.url, 'sandbox'),
    models,
    poolWatch,
    routing: { aliases, routes: [], models: {} },
    clock,
    isStrict: false,
  });
  let isReachable = true;
  const schemas = new SchemaChecker(clock);
  return {
    clock,
    pool,
    upstream,
    poolWatch,
    turns: {
      routes,
      models,
      leases,
      reporter,
      reach: new ProviderReach(clock),
      circuits: new Circuits(clock),
      conversations: new Conversations(new BufferedStore({ clock, maxBytes: 1_000_000 })),
      reasoning: new RememberedReasoning(new BufferedStore({ clock, maxBytes: 1_000_000 })),
      affinity: new Affinity(clock.monotonic, 30_000),
      limits: new AccountLimits(clock),
      refusals: new KnownRefusals(clock),
      records: new TurnRecords(clock),
      ledger: { isOn: false, note() {}, figures: { waiting: 0, written: 0, dropped: 0 } },
      schemas,
      maxChoices: 4,
      dispatcher,
      clock,
      listening: new ListeningTime(clock),
      userAgent: 'warp2api/test',
      secrets: new KnownSecrets(),
      timeouts: { firstEventMs: 30_000, idleMs: 60_000 },
      running: new RunningTurns(clock),
      logger: silentLogger,
    },
    setReachable(value) {
      isReachable = value;
    },
    async pass(ms) {
      for (let passed = 0; passed < ms; passed += 50) {
        await clock.advance(50);
        await settled();
      }
    },
    async close() {
      poolWatch.close();
      await reporter.close();
      await leases.close();
      await schemas.close();
      await dispatcher.destroy();
      await upstream.close();
    },
  };
}

/** Nothing listens there. */
const unreachableUrl = 'http://127.0.0.1:1';

/** Turns that are run by `run`; nothing of them is checked or limited. */
export function clientTurnsFor(
  clock: Clock,
  run: ClientTurns['run'],
): BackgroundResponsesOptions['clientTurns'] {
  return {
    check: () => undefined,
    admit: (asked) => ({ ...asked, images: undefined }),
    begin(turn, call, signal = new TurnSignal()) {
      const { protocol: dialect, decoded } = turn;
      const asked = { ...turn, dialect, model: 'm', isStream: decoded.isStream, call };
      return { ...turn, record: new TurnRecord(asked, clock), signal };
    },
    refused() {},
    run,
  };
}

/** No key has limits. */
export const noLimits = {
  keyOf: () => undefined,
  reserve(): never {
    throw new Error('There is nothing to reserve.');
  },
  refused: new Map<string, number>(),
  passed: new Map(),
  uses: async () => new Map(),
};

/** For a server whose test does not ask what it keeps. */
export const quietKeep = {
  figures: () => ({
    store: 'memory' as const,
    entries: 0,
    bytes: 0,
    unwritten: 0,
    isWritable: true,
    isReachable: true,
  }),
  failures: 0,
};

export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}
