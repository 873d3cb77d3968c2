import { randomUUID } from 'node:crypto';
import type { PoolEvent } from '../../pool-api/schema.ts';
import type { Changes, News } from '../store/store.ts';

export interface NumberedEvent {
  readonly id: string;
  readonly event: PoolEvent;
}

type Listener = (event: NumberedEvent) => void;

const kept = 1000;

/** Hands events to all that listen and keeps the last 1,000 for readers that reconnect. */
export class EventHub {
  /** Ids of another run of the service must not look like ours. */
  readonly #run = randomUUID().slice(0, 8);
  readonly #ring: NumberedEvent[] = [];
  readonly #listeners = new Set<Listener>();
  readonly #onFreed: (() => void)[] = [];
  #count = 0;

  publish(event: PoolEvent): void {
    this.#count += 1;
    const numbered = { id: this.lastId(), event };
    this.#ring.push(numbered);
    if (this.#ring.length > kept) this.#ring.shift();
    for (const listener of this.#listeners) listener(numbered);
  }

  /** Publishes what a verb of the store has changed, and wakes those that wait when a place may have come free. */
  changed({ accounts, hasFreed }: Changes): void {
    for (const { id, provider, state, free } of accounts) {
      this.publish({ type: 'account-changed', account_id: id, provider, status: state, free });
    }
    if (hasFreed) this.freed();
  }

  /** Publishes what another instance on the same database did, as if it had been done here. */
  heard(news: News): void {
    switch (news.type) {
      case 'changes':
        this.changed(news.changes);
        break;
      case 'removed':
        this.publish({ type: 'account-removed', account_id: news.id, provider: news.provider });
        break;
      case 'wanted':
        this.publish({ type: 'lease-wanted', account_ids: [...news.accountIds] });
        break;
    }
  }

  freed(): void {
    for (const wake of this.#onFreed) wake();
  }

  /** Calls back whenever a place may have come free. */
  whenFreed(wake: () => void): void {
    this.#onFreed.push(wake);
  }

  /** The answer ends the subscription. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How many listen. */
  get readers(): number {
    return this.#listeners.size;
  }

  /** The id of the last event; a reader that has seen nothing resumes from here. */
  lastId(): string {
    return `${this.#run}-${this.#count}`;
  }

  /** What came after an id, or undefined when that is no longer known. */
  since(id: string): readonly NumberedEvent[] | undefined {
    if (id === this.lastId()) return [];
    const at = this.#ring.findIndex((numbered) => numbered.id === id);
    if (at >= 0) return this.#ring.slice(at + 1);
    const isJustBefore =
      this.#ring[0] !== undefined && id === `${this.#run}-${this.#count - this.#ring.length}`;
    return isJustBefore ? [...this.#ring] : undefined;
  }
}
