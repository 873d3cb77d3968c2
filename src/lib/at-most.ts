/**
 * Options of an LRUCache that takes memory for what it holds. With `max` it takes the memory of all its places when it is made, and
 * the time to fill them.
 */
export function atMost(entries: number): {
  readonly maxSize: number;
  readonly sizeCalculation: () => number;
} {
  return { maxSize: entries, sizeCalculation: () => 1 };
}
