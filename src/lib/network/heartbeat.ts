import type { Clock } from '../clock.ts';

const tickMs = 5_000;
const pingEveryTicks = 4;
const deadAfterTicks = 3;
const idleTicks = 12;

export interface HeartbeatHooks {
  isBusy(): boolean;
  ping(onAnswer: () => void): void;
  onDead(): void;
  onIdle(): void;
}

/**
 * Checks whether the other side of a session is still there: while streams are open it is pinged every 20 seconds, and
 * counts as dead when it has not answered for 15. A session without streams ends after a minute. Time is counted in ticks, so
 * that a process that was paused reads what has come meanwhile before it judges.
 */
export class Heartbeat {
  readonly #clock: Clock;
  readonly #hooks: HeartbeatHooks;
  #cancel: () => void;
  #ticksSinceAnswer = 0;
  #ticksSincePing: number | undefined;
  #ticksIdle = 0;

  constructor(clock: Clock, hooks: HeartbeatHooks) {
    this.#clock = clock;
    this.#hooks = hooks;
    this.#cancel = clock.after(tickMs, () => this.#tick());
  }

  /** The session is used again. One that was idle may have lost its other side unseen. */
  wake(): void {
    this.#ticksIdle = 0;
    if (this.#ticksSinceAnswer > 0) this.#ping();
  }

  stop(): void {
    this.#cancel();
  }

  #tick(): void {
    this.#cancel = this.#clock.after(tickMs, () => this.#tick());
    this.#ticksSinceAnswer += 1;
    if (this.#ticksSincePing !== undefined) {
      this.#ticksSincePing += 1;
      if (this.#ticksSincePing >= deadAfterTicks) this.#hooks.onDead();
      return;
    }
    if (this.#hooks.isBusy()) {
      this.#ticksIdle = 0;
      if (this.#ticksSinceAnswer >= pingEveryTicks) this.#ping();
      return;
    }
    this.#ticksIdle += 1;
    if (this.#ticksIdle >= idleTicks) this.#hooks.onIdle();
  }

  #ping(): void {
    if (this.#ticksSincePing !== undefined) return;
    this.#ticksSincePing = 0;
    this.#hooks.ping(() => {
      this.#ticksSincePing = undefined;
      this.#ticksSinceAnswer = 0;
    });
  }
}
