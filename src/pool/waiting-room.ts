import type { Clock } from '../lib/clock.ts';
import { PoolError } from '../pool-api/errors.ts';
import type { EnsureResult, LeaseDemand } from './store/store.ts';

type Granted = Extract<EnsureResult, { result: 'granted' }>;
type Short = Extract<EnsureResult, { result: 'short' }>;

export interface WaitingRoomOptions {
  readonly clock: Clock;
  /** One try at the store. */
  attempt(demand: LeaseDemand): Promise<EnsureResult>;
  /** Gateways hold these accounts, and somebody waits. */
  onWanted(accountIds: readonly string[]): void;
  /** A grant whose caller has gone. */
  giveBack(demand: LeaseDemand, granted: Granted): Promise<void>;
  onError(error: unknown): void;
}

/** Where callers wait for leases, first come, first tried. */
export interface WaitingRoom {
  /** Answers once it is decided; rejects with the signal's reason when the caller has gone. */
  enter(demand: Demand, waitMs: number, signal?: AbortSignal): Promise<EnsureResult>;
  /** A place may have come free. */
  wake(): void;
  /** How many wait. */
  size(): number;
  /** Ends every wait with `shutting_down`. */
  close(): void;
}

/** `isNewSession`: the session holds nothing, so equal demands fail alike. */
type Demand = Omit<LeaseDemand, 'waitUntil'> & { readonly isNewSession: boolean };

interface Waiter {
  readonly demand: Demand;
  readonly since: number;
  deadline: number;
  /** When to try again without being woken. */
  retryAt: number | null;
  lastShort: Short | undefined;
  wantedAt: number;
  isSettled: boolean;
  resolve(result: EnsureResult): void;
  reject(error: unknown): void;
}

/** How long an idle lease takes to come back from a gateway that is asked for it. */
const giveBackMs = 1000;
/** How long a refresh that is waited for may take, and how long one caller waits for refreshes altogether. */
const refreshTakesMs = 5000;
const longestRefreshWaitMs = 20_000;
/** Callers of one key that may wait at the same time: whenever a place becomes free, each of them is tried. */
export const mostWaiting = 1000;

export function createWaitingRoom(options: WaitingRoomOptions): WaitingRoom {
  const { clock } = options;
  let queue: Waiter[] = [];
  let isPumping = false;
  let isDirty = false;
  let isClosed = false;
  let wakes = 0;
  let stopTimer = (): void => {};

  const tryOnce = async (waiter: Waiter): Promise<void> => {
    const { isNewSession: _, ...rest } = waiter.demand;
    const demand: LeaseDemand = { ...rest, waitUntil: waiter.deadline };
    const result = await options.attempt(demand);
    if (result.result === 'granted' && waiter.isSettled) return options.giveBack(demand, result);
    if (waiter.isSettled) return;
    if (result.result !== 'short') return waiter.resolve(result);
    waiter.lastShort = result;
    waiter.retryAt = result.nextAt;
    const now = clock.now();
    if (result.couldServe && result.gatewayHeld.length > 0) {
      if (waiter.wantedAt === Number.NEGATIVE_INFINITY) {
        waiter.deadline = Math.max(waiter.deadline, now + giveBackMs);
      }
      if (now - waiter.wantedAt >= giveBackMs && now < waiter.deadline) {
        waiter.wantedAt = now;
        options.onWanted(result.gatewayHeld);
      }
      waiter.retryAt = Math.min(waiter.retryAt ?? Number.POSITIVE_INFINITY, now + giveBackMs);
    }
    if (result.refreshBy !== null) {
      const until = Math.min(result.refreshBy + refreshTakesMs, waiter.since + longestRefreshWaitMs);
      waiter.deadline = Math.max(waiter.deadline, until);
    }
    const couldServe = result.couldServe || result.refreshBy !== null;
    if (!couldServe || now >= waiter.deadline) waiter.resolve(result);
  };

  const attemptSafely = async (waiter: Waiter): Promise<void> => {
    try {
      await tryOnce(waiter);
    } catch (error) {
      if (waiter.isSettled) options.onError(error);
      else waiter.reject(error);
    }
  };

  /** Tries everybody once, save those whose like has just failed for no more than they want. */
  const pass = async (): Promise<void> => {
    const failed = new Map<
      string,
      { readonly count: number; readonly short: Short; readonly retryAt: number | null }
    >();
    for (const waiter of [...queue]) {
      if (waiter.isSettled) continue;
      const { demand } = waiter;
      const shape = shapeOf(demand);
      const like = demand.isNewSession ? failed.get(shape) : undefined;
      if (like !== undefined && like.count <= demand.count && waiter.lastShort !== undefined) {
        waiter.lastShort = like.short;
        waiter.retryAt = like.retryAt;
        if (clock.now() >= waiter.deadline) waiter.resolve(like.short);
        continue;
      }
      const shortBefore = waiter.lastShort;
      await attemptSafely(waiter);
      const { lastShort, retryAt } = waiter;
      if (demand.isNewSession && lastShort !== undefined && lastShort !== shortBefore) {
        failed.set(shape, { count: demand.count, short: lastShort, retryAt });
      }
    }
  };

  const pump = async (): Promise<void> => {
    if (isPumping) {
      isDirty = true;
      return;
    }
    isPumping = true;
    do {
      isDirty = false;
      await pass();
    } while (isDirty);
    isPumping = false;
    setTimer();
  };

  const setTimer = (): void => {
    stopTimer();
    stopTimer = () => {};
    if (queue.length === 0) return;
    const next = Math.min(
      ...queue.map((waiter) => Math.min(waiter.deadline, waiter.retryAt ?? waiter.deadline)),
    );
    // At least a millisecond ahead: a time that has passed and changed nothing must not spin.
    stopTimer = clock.after(Math.max(1, next - clock.now()), () => void pump());
  };

  return {
    enter(demand, waitMs, signal) {
      if (isClosed) return Promise.reject(shuttingDown());
      if (signal?.aborted) return Promise.reject(signal.reason);
      return new Promise((resolve, reject) => {
        const settle =
          <T>(answer: (value: T) => void) =>
          (value: T): void => {
            if (waiter.isSettled) return;
            waiter.isSettled = true;
            signal?.removeEventListener('abort', leave);
            queue = queue.filter((other) => other !== waiter);
            answer(value);
          };
        const waiter: Waiter = {
          demand,
          since: clock.now(),
          deadline: clock.now() + waitMs,
          retryAt: null,
          lastShort: undefined,
          wantedAt: Number.NEGATIVE_INFINITY,
          isSettled: false,
          resolve: settle(resolve),
          reject: settle(reject),
        };
        const leave = (): void => waiter.reject(signal?.reason);
        signal?.addEventListener('abort', leave);
        void (async () => {
          const wakesBefore = wakes;
          // Those who wait already go first.
          if (queue.length === 0 && !isPumping) await attemptSafely(waiter);
          if (waiter.isSettled) return;
          if (isClosed) return waiter.reject(shuttingDown());
          if (queue.filter((other) => isOfSameKey(other, waiter)).length >= mostWaiting) {
            return waiter.reject(tooManyWait());
          }
          queue.push(waiter);
          if (waiter.lastShort === undefined || wakes !== wakesBefore) await pump();
          else setTimer();
        })();
      });
    },
    size: () => queue.length,
    wake() {
      wakes += 1;
      if (queue.length > 0) void pump();
    },
    close() {
      isClosed = true;
      stopTimer();
      for (const waiter of [...queue]) waiter.reject(shuttingDown());
    },
  };
}

function isOfSameKey(one: Waiter, other: Waiter): boolean {
  return one.demand.owner.keyId === other.demand.owner.keyId;
}

function tooManyWait(): PoolError {
  return new PoolError(
    'no_account_available',
    'Too many callers wait already: try again after Retry-After.',
    {
      retryAfterMs: 1000,
    },
  );
}

function shapeOf(demand: Demand): string {
  const { provider, model, exclusive, slots, owner, exclude } = demand;
  return JSON.stringify([provider, model, exclusive, slots, owner.isGateway, exclude]);
}

export function shuttingDown(): PoolError {
  return new PoolError('shutting_down', 'The pool is shutting down; try again in a few seconds.', {
    retryAfterMs: 5000,
  });
}
