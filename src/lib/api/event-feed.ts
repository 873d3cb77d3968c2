import { randomUUID } from 'node:crypto';

export interface NumberedEvent<Event> {
  /** Undefined for one that is of no use later. */
  readonly id: string | undefined;
  readonly event: Event;
}

const kept = 1000;

/** Hands events to all that listen and keeps the last 1,000 for readers that reconnect. */
export class EventFeed<Event> {
  /** Ids of another run of the service must not look like ours. */
  readonly #run = randomUUID().slice(0, 8);
  readonly #ring: NumberedEvent<Event>[] = [];
  readonly #listeners = new Set<(event: NumberedEvent<Event>) => void>();
  #count = 0;

  publish(event: Event): void {
    this.#count += 1;
    const numbered = { id: this.lastId(), event };
    this.#ring.push(numbered);
    if (this.#ring.length > kept) this.#ring.shift();
    for (const listener of this.#listeners) listener(numbered);
  }

  /** To those that listen now; it is not kept. */
  publishBriefly(event: Event): void {
    for (const listener of this.#listeners) listener({ id: undefined, event });
  }

  /** Forgets what was kept: readers that reconnect hear that they missed something. */
  reset(): void {
    this.#ring.length = 0;
    this.#count += 1;
  }

  /** The answer ends the subscription. */
  listen(listener: (event: NumberedEvent<Event>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get readers(): number {
    return this.#listeners.size;
  }

  /** The id of the last event; a reader that has seen nothing resumes from here. */
  lastId(): string {
    return `${this.#run}-${this.#count}`;
  }

  /** What came after an id, or undefined when that is no longer known. */
  since(id: string): readonly NumberedEvent<Event>[] | undefined {
    if (id === this.lastId()) return [];
    const at = this.#ring.findIndex((numbered) => numbered.id === id);
    if (at >= 0) return this.#ring.slice(at + 1);
    const isJustBefore =
      this.#ring[0] !== undefined && id === `${this.#run}-${this.#count - this.#ring.length}`;
    return isJustBefore ? [...this.#ring] : undefined;
  }
}
