import { LRUCache } from 'lru-cache';
import type { Continued } from './stored-responses.ts';

/** What connections said last, so that the next turn can go on from it although nothing was stored. */
export interface RecentTurns {
  /** Replaces what that connection had. */
  put(connection: object, turn: RecentTurn): void;
  find(connection: object, id: string): RecentTurn | undefined;
  forget(connection: object): void;
}

export interface RecentTurn {
  readonly id: string;
  readonly continued: Continued;
}

/** One turn for each connection, `maxBytes` for all of them. */
export function createRecentTurns(maxBytes: number): RecentTurns {
  const turns = new LRUCache<object, RecentTurn>({
    maxSize: maxBytes,
    sizeCalculation: ({ continued }) => Math.max(1, continued.bytes),
  });
  return {
    put: (connection, turn) => turns.set(connection, turn),
    find(connection, id) {
      const turn = turns.get(connection);
      return turn?.id === id ? turn : undefined;
    },
    forget: (connection) => void turns.delete(connection),
  };
}
