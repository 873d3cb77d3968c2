import { leaveGarbage } from '../process/own-turn.ts';
import { HttpFault } from './http-fault.ts';

/** A body up to this size is taken however many large ones there are. */
const alwaysTakenBytes = 64 * 1024;
/**
 * A body is refused unless there is room for this many more of its size: the larger it is, the sooner it is refused. So at most
 * two of the largest are held together, and usual ones find room beside them.
 */
const roomLeft = 8;
/** One key's share of what the other keys leave free, so that it cannot keep all others out. */
const shareOfKey = 3 / 4;
/** What one key may always have, for its small requests. */
const leastOfKey = 32 * alwaysTakenBytes;
const retryAfterMs = 2_000;

/**
 * The bytes of request bodies that a service holds at a time, counted as they arrive and for as long as something is made
 * of them, in total and by key. One body of 30 MB is cheap; twenty of them fill the memory of the process.
 */
export class BodyBudget {
  readonly #maxBytes: number;
  #heldBytes = 0;
  /** By the key that its senders showed. */
  readonly #heldOf = new Map<string, number>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** For a body of which nothing has arrived yet, and for which there is room as far as its length is known. Throws HttpFault. */
  begin(keyId: string, declaredBytes = 0): HeldBody {
    this.#check(keyId, declaredBytes, declaredBytes);
    return new HeldBody(this, keyId);
  }

  /** Counts a change of what is held of one body, which is `total` then. Throws HttpFault. */
  count(keyId: string, change: number, total: number): void {
    this.#check(keyId, change, total);
    this.#heldBytes += change;
    const own = this.#ownBytes(keyId) + change;
    if (own === 0) this.#heldOf.delete(keyId);
    else this.#heldOf.set(keyId, own);
  }

  #ownBytes(keyId: string): number {
    return this.#heldOf.get(keyId) ?? 0;
  }

  /** A sender may never send what it declares: only what has come counts. */
  #check(keyId: string, change: number, total: number): void {
    if (change <= 0) return;
    const own = this.#ownBytes(keyId);
    const share = Math.max(leastOfKey, shareOfKey * (this.#maxBytes - this.#heldBytes + own));
    if (own + change > share) throw overloaded('holds as many requests with this key as it can');
    const wanted = this.#heldBytes + change + roomLeft * total;
    if (total > alwaysTakenBytes && wanted > this.#maxBytes) {
      throw overloaded('holds as many large requests as it can');
    }
  }
}

function overloaded(reason: string): HttpFault {
  return new HttpFault(
    'overloaded',
    `The service ${reason}: send this one again in a few seconds. BODIES_MAX_MB sets how many megabytes they may have.`,
    { retryAfterMs },
  );
}

/** What a service holds of one body, until every holder has released it. */
export class HeldBody {
  readonly #budget: BodyBudget;
  readonly #keyId: string;
  #bytes = 0;
  #holders = 1;
  /** The service wants the body as it was written beside its value. */
  keepsText = false;
  text: string | undefined;

  constructor(budget: BodyBudget, keyId: string) {
    this.#budget = budget;
    this.#keyId = keyId;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The body as it was written, where that is kept: once. */
  takeText(): string | undefined {
    const { text } = this;
    this.text = undefined;
    return text;
  }

  /** Counts bytes that have come. Throws HttpFault when they are too many for the service, which then holds none of them. */
  add(bytes: number): void {
    if (this.#holders === 0) return;
    try {
      this.#budget.count(this.#keyId, bytes, this.#bytes + bytes);
      this.#bytes += bytes;
    } catch (error) {
      this.#letGo();
      throw error;
    }
  }

  /** All but one holder have released it: its client has left. */
  get hasOneHolder(): boolean {
    return this.#holders <= 1;
  }

  /** Adds a holder, which has to release it as well. */
  share(): this {
    if (this.#holders > 0) this.#holders += 1;
    return this;
  }

  release(): void {
    if (this.#holders === 0) return;
    this.#holders -= 1;
    if (this.#holders === 0) this.#letGo();
  }

  #letGo(): void {
    this.#holders = 0;
    this.text = undefined;
    leaveGarbage(this.#bytes);
    this.#budget.count(this.#keyId, -this.#bytes, 0);
    this.#bytes = 0;
  }
}
