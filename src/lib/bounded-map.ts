/** A map with a bound: what was not read or written for longest goes first. */
export interface BoundedMap<Key, Value> extends Iterable<[Key, Value]> {
  get(key: Key): Value | undefined;
  set(key: Key, value: Value): void;
  /** Removes it and answers it. */
  take(key: Key): Value | undefined;
  clear(): void;
  readonly count: number;
  /** What all values come to by their size. */
  readonly size: number;
}

/** Values come to at most `room`, each counting as `sizeOf` says, which has to say the same every time; by itself 1. */
export function createBoundedMap<Key, Value>(
  room: number,
  sizeOf: (value: Value) => number = () => 1,
): BoundedMap<Key, Value> {
  const entries = new Map<Key, Value>();
  let size = 0;

  function take(key: Key): Value | undefined {
    const value = entries.get(key);
    if (value === undefined) return undefined;
    entries.delete(key);
    size -= sizeOf(value);
    return value;
  }

  return {
    take,
    get(key) {
      const value = entries.get(key);
      if (value === undefined) return undefined;
      entries.delete(key);
      entries.set(key, value);
      return value;
    },
    set(key, value) {
      take(key);
      const added = sizeOf(value);
      // One that has no room even alone would only push all others out.
      if (added > room) return;
      entries.set(key, value);
      size += added;
      for (const oldest of entries.keys()) {
        if (size <= room) return;
        take(oldest);
      }
    },
    clear() {
      entries.clear();
      size = 0;
    },
    get count() {
      return entries.size;
    },
    get size() {
      return size;
    },
    [Symbol.iterator]: () => entries.entries(),
  };
}
