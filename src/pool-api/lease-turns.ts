import { type HeldSession, keyOf } from './held-session.ts';
import type { LeasedAccount } from './schema.ts';
import type { Timing } from './timing.ts';

/** A lease of a block and the turns that run on it. */
export interface TurnCount {
  account: LeasedAccount;
  turns: number;
  idleSince: number;
  /** No new turn; given back when its last one ends. */
  isRetired: boolean;
  isHeld: boolean;
}

export interface TurnWish {
  readonly prefer?: string | undefined;
  readonly exclude?: readonly string[] | undefined;
}

/** Which turns run on which lease of one session: never more than the lease has slots. */
export class LeaseTurns {
  readonly #session: HeldSession;
  readonly #timing: Timing;
  #counts = new Map<string, TurnCount>();

  constructor(session: HeldSession, timing: Timing) {
    this.#session = session;
    this.#timing = timing;
  }

  get all(): readonly TurnCount[] {
    return [...this.#counts.values()];
  }

  /** Takes over what the session holds by the last word of the pool. */
  sync(): void {
    const before = this.#counts;
    this.#counts = new Map();
    for (const account of this.#session.accounts) {
      const count = before.get(keyOf(account)) ?? {
        account,
        turns: 0,
        idleSince: this.#timing.monotonic(),
        isRetired: false,
        isHeld: true,
      };
      count.account = account;
      if (account.status !== 'active') count.isRetired = true;
      this.#counts.set(keyOf(account), count);
      before.delete(keyOf(account));
    }
    for (const lost of before.values()) lost.isHeld = false;
  }

  /** The preferred account's lease, or the one with the fewest turns that has a slot free. */
  pick({ prefer, exclude = [] }: TurnWish): TurnCount | undefined {
    if (!this.#session.isLive()) return undefined;
    let best: TurnCount | undefined;
    for (const count of this.#counts.values()) {
      const { account, turns, isRetired } = count;
      if (isRetired || turns >= account.slots || exclude.includes(account.id)) continue;
      if (!this.#session.isFresh(account)) continue;
      if (account.id === prefer) return count;
      if (!best || turns < best.turns) best = count;
    }
    return best;
  }

  begin(count: TurnCount): void {
    count.turns += 1;
  }

  end(count: TurnCount): void {
    count.turns -= 1;
    count.idleSince = this.#timing.monotonic();
  }

  /** Leases without a turn that are retired, or idle for so long, beyond the `minimum` to keep. */
  leaving(idleMs: number, minimum: number): readonly TurnCount[] {
    const now = this.#timing.monotonic();
    const idle = this.all.filter(({ turns }) => turns === 0);
    const retired = idle.filter(({ isRetired }) => isRetired);
    const spare = Math.max(0, this.#counts.size - retired.length - minimum);
    const unused = idle
      .filter(({ isRetired, idleSince }) => !isRetired && now - idleSince >= idleMs)
      .sort((one, other) => one.idleSince - other.idleSince)
      .slice(0, spare);
    return [...retired, ...unused];
  }
}
