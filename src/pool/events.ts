import { randomUUID } from 'node:crypto';
import type { PoolEvent } from '../pool-api/schema.ts';
import type { Changes } from './store/store.ts';

export interface NumberedEvent {
  readonly id: string;
  readonly event: PoolEvent;
}

/** Hands events to whoever listens and keeps the last 1,000 for those that come back. */
export interface EventHub {
  publish(event: PoolEvent): void;
  publishChanges(changes: Changes): void;
  /** The answer ends the subscription. */
  listen(listener: (event: NumberedEvent) => void): () => void;
  /** How many listen. */
  readers(): number;
  /** The id of the last event; a reader that has seen nothing resumes from here. */
  lastId(): string;
  /** What came after an id, or undefined when that is no longer known. */
  since(id: string): readonly NumberedEvent[] | undefined;
}

const kept = 1000;

export function createEventHub(): EventHub {
  // Ids of another run of the service must not look like ours.
  const run = randomUUID().slice(0, 8);
  const ring: NumberedEvent[] = [];
  const listeners = new Set<(event: NumberedEvent) => void>();
  let count = 0;
  const idOf = (number: number): string => `${run}-${number}`;

  const publish = (event: PoolEvent): void => {
    count += 1;
    const numbered = { id: idOf(count), event };
    ring.push(numbered);
    if (ring.length > kept) ring.shift();
    for (const listener of listeners) listener(numbered);
  };

  return {
    publish,
    publishChanges(changes) {
      for (const { id, provider, state, free } of changes.accounts) {
        publish({ type: 'account-changed', account_id: id, provider, status: state, free });
      }
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    readers: () => listeners.size,
    lastId: () => idOf(count),
    since(id) {
      if (id === idOf(count)) return [];
      const at = ring.findIndex((numbered) => numbered.id === id);
      if (at >= 0) return ring.slice(at + 1);
      const isJustBefore = ring[0] !== undefined && id === idOf(count - ring.length);
      return isJustBefore ? [...ring] : undefined;
    },
  };
}
