/** A map that forgets the entries used longest ago once there are more than `limit`. */
export interface BoundedMap<Value> {
  get(key: string): Value | undefined;
  /** Returns the entry that had to go for this one, if any. */
  set(key: string, value: Value): Value | undefined;
  delete(key: string): void;
  /** Drops the entry used longest ago. */
  deleteOldest(): Value | undefined;
  /** From the one used longest ago to the latest. */
  values(): Value[];
}

export function createBoundedMap<Value>(limit: number): BoundedMap<Value> {
  const entries = new Map<string, Value>();
  const deleteOldest = (): Value | undefined => {
    const [key] = entries.keys();
    if (key === undefined) return undefined;
    const value = entries.get(key);
    entries.delete(key);
    return value;
  };
  return {
    get(key) {
      const value = entries.get(key);
      if (value !== undefined) {
        entries.delete(key);
        entries.set(key, value);
      }
      return value;
    },
    set(key, value) {
      entries.delete(key);
      entries.set(key, value);
      return entries.size > limit ? deleteOldest() : undefined;
    },
    delete: (key) => void entries.delete(key),
    deleteOldest,
    values: () => [...entries.values()],
  };
}
