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
  /** About how many the items take. */
  readonly bytes: number;
}

/** One turn for each connection, `maxBytes` for all of them: the one not used for longest goes first. */
export function createRecentTurns(maxBytes: number): RecentTurns {
  const turns = new Map<object, RecentTurn>();
  let size = 0;

  function forget(connection: object): void {
    const turn = turns.get(connection);
    if (turn === undefined) return;
    turns.delete(connection);
    size -= turn.bytes;
  }

  return {
    forget,
    put(connection, turn) {
      forget(connection);
      // One that has no room even alone would only push all others out.
      if (turn.bytes > maxBytes) return;
      turns.set(connection, turn);
      size += turn.bytes;
      for (const oldest of turns.keys()) {
        if (size <= maxBytes) return;
        forget(oldest);
      }
    },
    find(connection, id) {
      const turn = turns.get(connection);
      if (turn?.id !== id) return undefined;
      turns.delete(connection);
      turns.set(connection, turn);
      return turn;
    },
  };
}
