import type { Lease } from './held-lease.ts';
import type { HeldLeases } from './held-leases.ts';
import type { LeasedAccount } from './schema.ts';

/** One turn's right to use an account. */
export class TurnLease {
  /** As it was when the turn began; reports speak of this bearer. */
  readonly account: LeasedAccount;
  /** No other turn has used it: the pool has just lent the account. */
  readonly isFirst: boolean;
  readonly #leases: HeldLeases;
  readonly #lease: Lease;
  #isOver = false;

  constructor(leases: HeldLeases, lease: Lease) {
    this.#leases = leases;
    this.#lease = lease;
    this.account = lease.account;
    this.isFirst = !lease.hasServed;
    lease.turns += 1;
    lease.hasServed = true;
  }

  get sessionId(): string {
    return this.#lease.session.sessionId;
  }

  /** False once the pool has taken the account back: others may use it now. */
  get isHeld(): boolean {
    return this.#lease.isHeld && this.#lease.session.isLive();
  }

  /** Ends the turn; the account stays lent for the next one. Doing it twice is harmless. */
  release(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#leases.end(this.#lease);
  }

  /** No new turn gets the account through this lease; it goes back when its last turn ends. */
  retire(): void {
    this.#leases.retire(this.#lease);
  }
}
