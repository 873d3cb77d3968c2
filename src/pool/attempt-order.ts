/** Which attempt to lend to a session was the last one, so that only that one's leases are taken back. */
export interface AttemptOrder {
  /** Call before an attempt; name its result with what this answers. */
  begin(sessionId: string): (result: object) => void;
  /** False when a later attempt was made, whose caller may count on these leases. */
  isLast(sessionId: string, result: object): boolean;
}

const mostKept = 10_000;

/** Remembers the 10,000 sessions that asked last; of others nothing is taken back, and their leases lapse. */
export function createAttemptOrder(): AttemptOrder {
  const last = new Map<string, number>();
  const numbers = new WeakMap<object, number>();
  let count = 0;
  return {
    begin(sessionId) {
      count += 1;
      const number = count;
      last.delete(sessionId);
      last.set(sessionId, number);
      const [oldest] = last.keys();
      if (last.size > mostKept && oldest !== undefined) last.delete(oldest);
      return (result) => numbers.set(result, number);
    },
    isLast: (sessionId, result) => last.get(sessionId) === numbers.get(result),
  };
}
