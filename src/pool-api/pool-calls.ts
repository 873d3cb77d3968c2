import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import { type Clock, systemClock } from '../lib/clock.ts';
import { isAway, NoAnswerError, PoolError } from './errors.ts';
import { followEvents } from './event-stream.ts';
import type { Call, Transport } from './http-transport.ts';
import type { AllocateCall } from './pool.ts';
import { type RetryPolicy, retryDelayMs, withRetries } from './retry.ts';
import {
  type AllocateAnswer,
  type AllocateRequest,
  allocateAnswer,
  type PoolEvent,
  type ReleaseAnswer,
  type ReleaseRequest,
  type ReportRequest,
  releaseAnswer,
  reportAnswer,
  statusAnswer,
} from './schema.ts';

/** The pool takes `wait_ms` to find a place; this much more for the way there and back. */
const allocateGraceMs = 10_000;
const firstReleaseRetryMs = 250;
const longestReleaseRetryMs = 5_000;

export interface PoolCallOptions {
  /** For calls that do not wait at the pool. */
  readonly timeoutMs: number;
  readonly retry: RetryPolicy;
  readonly timing?: Clock;
  /** Silence after which the event stream counts as dead; default 60 s. */
  readonly eventSilenceMs?: number | undefined;
}

export type PoolCalls = ReturnType<typeof createPoolCalls>;

/** The borrower's calls over HTTP, each made so that it can be repeated without doing anything twice. */
export function createPoolCalls(transport: Transport, options: PoolCallOptions) {
  const { timeoutMs, retry, timing = systemClock, eventSilenceMs } = options;
  const pending = new PendingReleases(timing, (sessionId) => release({ session_id: sessionId }));

  function repeat<T>(call: Call, answer: z.ZodType<T>): Promise<T> {
    return withRetries(retry, true, call.signal, () => transport.exchange({ timeoutMs, ...call }, answer));
  }
  const release = (body: ReleaseRequest, signal?: AbortSignal) =>
    repeat({ method: 'POST', path: '/api/accounts/release', body, signal }, releaseAnswer);

  /** One that fails because the pool is unreachable is repeated until it gets an answer, or the id is used for something else. */
  async function releaseOrRetry(request: ReleaseRequest, signal?: AbortSignal): Promise<ReleaseAnswer> {
    try {
      return await release(request, signal);
    } catch (error) {
      if (isAway(error) && request.leases === undefined) pending.add(request.session_id);
      throw error;
    }
  }

  return {
    release: releaseOrRetry,
    /** Without `session_id` it makes one, and gives back what may have been lent when the call fails. */
    async allocate(
      request: AllocateRequest,
      signal?: AbortSignal,
      { isNew = request.session_id === undefined, trace }: AllocateCall = {},
    ): Promise<AllocateAnswer> {
      // The id is made here, so that a repeated call finds the session of the first instead of leasing twice.
      const sessionId = request.session_id ?? randomUUID();
      if (request.session_id !== undefined) await pending.forget(sessionId);
      const deadline = performance.now() + (request.wait_ms ?? 0);
      let mayHaveLent = false;
      const attempt = () => {
        // A further try waits for what is left, so that the caller waits no longer than it said.
        const waitMs = Math.max(0, Math.floor(deadline - performance.now()));
        const wait = request.wait_ms === undefined ? {} : { wait_ms: Math.min(request.wait_ms, waitMs) };
        const call = {
          method: 'POST',
          path: '/api/accounts/allocate',
          body: { ...request, ...wait, session_id: sessionId },
          timeoutMs: waitMs + allocateGraceMs,
          signal,
          ...(trace && { headers: { ...trace } }),
        } as const;
        return transport.exchange(call, allocateAnswer).catch((error: unknown) => {
          // The last try may surely not have arrived, and the one before it have lent something.
          mayHaveLent ||= mayHaveArrived(error, signal);
          throw error;
        });
      };
      try {
        return await withRetries(retry, true, signal, attempt);
      } catch (error) {
        // The pool may have lent something whose session id no caller knows.
        if (isNew && mayHaveLent) pending.add(sessionId);
        throw error;
      }
    },
    report: (body: ReportRequest, signal?: AbortSignal) =>
      repeat({ method: 'POST', path: '/api/accounts/report', body, signal }, reportAnswer),
    status: (signal?: AbortSignal) =>
      repeat({ method: 'GET', path: '/api/accounts/status', signal }, statusAnswer),
    /** Events from now on until the signal aborts. `onState` says whether events are flowing. */
    subscribe(
      onEvent: (event: PoolEvent) => void,
      onState: (isConnected: boolean) => void,
      signal: AbortSignal,
    ): void {
      void followEvents(transport, { silenceMs: eventSilenceMs }, onEvent, onState, signal);
    },
    /** Waits for what runs in the background, and tries once more to give back what could not be given back. */
    settle: () => pending.close(),
  };
}

function mayHaveArrived(error: unknown, signal: AbortSignal | undefined): boolean {
  if (signal?.aborted) return true;
  if (error instanceof NoAnswerError) return error.sent === 'maybe';
  return !(error instanceof PoolError);
}

/** Sessions that could not be released, or that the pool may have made for a call that failed: retried until it answers. */
class PendingReleases {
  readonly #timing: Clock;
  readonly #release: (sessionId: string) => Promise<unknown>;
  readonly #pending = new Set<string>();
  #failures = 0;
  #running: Promise<void> | undefined;
  #cancel = () => {};

  constructor(timing: Clock, release: (sessionId: string) => Promise<unknown>) {
    this.#timing = timing;
    this.#release = release;
  }

  /** This session has to be released, now or when the pool can be reached again. */
  add(sessionId: string): void {
    this.#pending.add(sessionId);
    void this.#run();
  }

  /** The id is used again. Resolves when no release of it is under way. */
  async forget(sessionId: string): Promise<void> {
    if (this.#pending.delete(sessionId)) await this.#running;
  }

  /** Tries once more and stops. */
  async close(): Promise<void> {
    await this.#running;
    if (this.#pending.size > 0) await this.#run();
    this.#pending.clear();
    this.#cancel();
  }

  #run(): Promise<void> {
    this.#cancel();
    this.#running ??= this.#tryAll().finally(() => {
      this.#running = undefined;
      if (this.#pending.size === 0) return;
      this.#cancel();
      const delayMs = retryDelayMs(this.#failures, firstReleaseRetryMs, longestReleaseRetryMs);
      this.#cancel = this.#timing.after(delayMs, () => void this.#run());
    });
    return this.#running;
  }

  async #tryAll(): Promise<void> {
    for (const sessionId of [...this.#pending]) {
      if (!this.#pending.has(sessionId)) continue;
      try {
        await this.#release(sessionId);
      } catch (error) {
        if (isAway(error)) {
          this.#failures += 1;
          return;
        }
        // A session the pool does not know is what was wanted; another refusal does not change by repeating.
      }
      this.#failures = 0;
      this.#pending.delete(sessionId);
    }
  }
}
