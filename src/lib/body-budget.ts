import { leaveGarbage } from './collect-garbage.ts';
import { HttpFault } from './http-fault.ts';

/** A body up to this size is always taken, however many large ones there are. */
const alwaysTakenBytes = 64 * 1024;
/**
 * A body has to leave room for so many of its size: the larger one is, the sooner it is refused, so that only two of the
 * largest come together, and those of usual size find room beside them.
 */
const roomLeft = 4;
const retryAfterMs = 2_000;

/**
 * The bytes of request bodies that a service holds at a time, counted as they arrive and for as long as something is made
 * of them. One body of 30 MB is cheap; twenty of them are the memory of the process.
 */
export class BodyBudget {
  readonly #maxBytes: number;
  #heldBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** For a body of which nothing has arrived yet, and for which there is room as far as its length is known. Throws HttpFault. */
  begin(declaredBytes = 0): HeldBody {
    this.#check(declaredBytes, declaredBytes);
    return new HeldBody((change, total) => {
      this.#check(change, total);
      this.#heldBytes += change;
    });
  }

  /** A sender may never send what it declares: only what has come counts. */
  #check(change: number, total: number): void {
    const wanted = this.#heldBytes + change + roomLeft * total;
    if (change <= 0 || total <= alwaysTakenBytes || wanted <= this.#maxBytes) return;
    throw new HttpFault(
      'overloaded',
      'The service holds as many large requests as it can: send this one again in a few seconds. BODIES_MAX_MB sets how many megabytes they may have.',
      { retryAfterMs },
    );
  }
}

/** What a service holds of one body. It is let go of once all who share it have released it. */
export class HeldBody {
  readonly #count: (change: number, total: number) => void;
  #bytes = 0;
  #holders = 1;

  constructor(count: (change: number, total: number) => void) {
    this.#count = count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Counts bytes that have come. Throws HttpFault when they are too many for the service, which then holds none of them. */
  add(bytes: number): void {
    if (this.#holders === 0) return;
    try {
      this.#count(bytes, this.#bytes + bytes);
      this.#bytes += bytes;
    } catch (error) {
      this.#letGo();
      throw error;
    }
  }

  /** Nobody else has to release it any more: its client has left. */
  get isSharedNoMore(): boolean {
    return this.#holders <= 1;
  }

  /** One more who has to release it. */
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
    leaveGarbage(this.#bytes);
    this.#count(-this.#bytes, 0);
    this.#bytes = 0;
  }
}
