import type { ServerResponse } from 'node:http';
import { AppError } from '../../core/errors.ts';
import type { RunningCall } from '../../core/provider.ts';
import type { Clock } from '../../lib/clock.ts';

/** Says that a turn is to end. An `AbortSignal` costs more than much of a turn does: it is made where something waits with it. */
export class TurnSignal {
  /** Undefined while the turn goes on. */
  reason: AppError | undefined;
  readonly #listeners: ((error: AppError) => void)[] = [];
  #controller: AbortController | undefined;

  get aborted(): boolean {
    return this.reason !== undefined;
  }

  /** For what waits. */
  get whole(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.reason) this.#controller.abort(this.reason);
    return this.#controller.signal;
  }

  /** Does nothing the second time. */
  abort(error: AppError): void {
    if (this.reason) return;
    this.reason = error;
    this.#controller?.abort(error);
    for (const listener of this.#listeners.splice(0)) listener(error);
  }

  /** Throws the reason. */
  throwIfAborted(): void {
    if (this.reason) throw this.reason;
  }

  listen(listener: (error: AppError) => void): void {
    this.#listeners.push(listener);
  }
  unlisten(listener: (error: AppError) => void): void {
    remove(this.#listeners, listener);
  }
}

/** What carries turns to their client: an HTTP answer, a WebSocket, or the store for a response in the background. */
export interface Carrier {
  /** Whose turns they are. */
  readonly clientId: string;
  /** Those that run now. */
  readonly turnCount: number;
  readonly isStream: boolean;
  /** Called a few times a second with the listening time. */
  tick(now: number): void;
  /** Ends its turns with this error. */
  abort(error: AppError): void;
  /** Ends the carrier itself, whatever its client has taken. */
  cut(): void;
}

/** After the deadline: for clients to take the errors that ended their turns. */
const lastWordsMs = 1_000;

/** All turns of this gateway, by what carries them, and their calls to upstreams: counted, timed, and ended when it stops. */
export class RunningTurns {
  readonly #clock: Clock;
  // No sets: V8 links each table that a set has outgrown to the next, and so keeps what came and went until all garbage is collected.
  readonly #carriers: Carrier[] = [];
  readonly #calls: Pick<RunningCall, 'checkTimeouts'>[] = [];
  #drained: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#carriers.reduce((sum, { turnCount }) => sum + turnCount, 0);
  }
  get streamCount(): number {
    return this.#carriers.reduce((sum, { turnCount, isStream }) => sum + (isStream ? turnCount : 0), 0);
  }
  get callCount(): number {
    return this.#calls.length;
  }

  add(carrier: Carrier): void {
    this.#carriers.push(carrier);
  }
  delete(carrier: Carrier): void {
    remove(this.#carriers, carrier);
    if (this.#carriers.length === 0) this.#drained?.();
  }
  addCall(call: Pick<RunningCall, 'checkTimeouts'>): void {
    this.#calls.push(call);
  }
  deleteCall(call: Pick<RunningCall, 'checkTimeouts'>): void {
    remove(this.#calls, call);
  }

  /** Ends the turns of a client whose key is good no more. */
  endOf(clientId: string, error: AppError): void {
    for (const carrier of [...this.#carriers]) if (carrier.clientId === clientId) carrier.abort(error);
  }

  /** To be called with the listening time: ends silent upstreams, keeps idle streams alive, cuts clients that stopped reading. */
  tick(now: number): void {
    for (const call of [...this.#calls]) call.checkTimeouts(now);
    for (const carrier of [...this.#carriers]) carrier.tick(now);
  }

  /** Resolves when no carrier is left. After `deadlineMs` their turns end with an error, and soon after the rest is cut. */
  async drain(deadlineMs: number): Promise<void> {
    if (this.#carriers.length === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#drained = resolve;
    const cancelAbort = this.#clock.after(deadlineMs, () => {
      const message = 'The gateway stopped before the answer was complete; try again.';
      const error = new AppError('shutting_down', message, { retryAfterMs: 5_000 });
      for (const carrier of [...this.#carriers]) carrier.abort(error);
    });
    const cancelCut = this.#clock.after(deadlineMs + lastWordsMs, () => {
      for (const carrier of [...this.#carriers]) carrier.cut();
    });
    await promise;
    cancelAbort();
    cancelCut();
  }
}

function remove<Item>(items: Item[], item: Item): void {
  const at = items.indexOf(item);
  const last = items.length - 1;
  if (at === -1) return;
  items[at] = items[last] as Item;
  items.pop();
}

/** A client that takes nothing for so long holds an account in vain. */
const stalledAfterMs = 300_000;

export interface CarriedBy {
  readonly running: RunningTurns;
  /** Whose turn it is. */
  readonly clientId: string;
  readonly response: ServerResponse;
  /** Aborts when the client has left or the deadline of a stop has passed. */
  readonly signal?: TurnSignal;
}

/** An answer over HTTP: runs until its turns have ended and the client has taken the last byte, or has left. */
export class HttpCarrier implements Carrier {
  readonly clientId: string;
  readonly response: ServerResponse;
  readonly turnCount = 1;
  readonly isStream: boolean;
  readonly signal: TurnSignal;
  readonly #running: RunningTurns;
  #hasEnded = false;
  #isClosed = false;
  /** Bytes that waited for the client at the last look, and since when it has been as many. */
  #waiting = 0;
  #waitingSince: number;

  constructor(
    { running, clientId, response, signal = new TurnSignal() }: CarriedBy,
    isStream: boolean,
    now: number,
  ) {
    this.#running = running;
    this.clientId = clientId;
    this.response = response;
    this.signal = signal;
    this.isStream = isStream;
    this.#waitingSince = now;
    running.add(this);
    if (response.closed) this.#close();
    else response.on('close', () => this.#close());
  }

  #close(): void {
    this.#isClosed = true;
    if (!this.response.writableEnded) this.abort(new AppError('cancelled', 'The client left.'));
    if (this.#hasEnded) this.#running.delete(this);
  }

  abort(error: AppError): void {
    this.signal.abort(error);
  }

  cut(): void {
    this.response.destroy();
  }

  /** To be called when its turns have ended, whatever became of them. */
  end(): void {
    this.#hasEnded = true;
    if (!this.#isClosed && !this.response.writableEnded) this.response.destroy();
    if (this.#isClosed) this.#running.delete(this);
  }

  tick(now: number): void {
    const { response } = this;
    // Node counts what a response has buffered in bytes, but what its socket has in characters of the strings that were
    // written, and so may ask to wait for a 'drain' that never comes where there are several bytes to a character.
    if (response.writableNeedDrain && response.writableLength === 0) response.emit('drain');
    if (!response.writableEnded && !response.destroyed && !response.writableNeedDrain) this.keepAlive(now);
    const { writableLength } = response;
    if (writableLength === 0 || writableLength !== this.#waiting) {
      this.#waiting = writableLength;
      this.#waitingSince = now;
    } else if (now - this.#waitingSince >= stalledAfterMs) this.cut();
  }

  /** A stream that has had nothing to say for a while says that it is there. */
  protected keepAlive(_now: number): void {}
}
