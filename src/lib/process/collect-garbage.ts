import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Smaller garbage is left to V8. */
const leastBytes = 4 * 1024 * 1024;
/** With this much large garbage the collection does not wait. */
const mostBytes = 96 * 1024 * 1024;
const idleMs = 1_000;

let collector: (() => void) | undefined;
let leftBytes = 0;
let idle: NodeJS.Timeout | undefined;

/**
 * Notes that large work has left about this many bytes of garbage, to be collected soon. V8 alone keeps a gigabyte of dead strings
 * and buffers as long as nothing new is allocated. A collection takes some tens of milliseconds, however large the garbage is.
 */
export function leaveGarbage(bytes: number): void {
  if (bytes < leastBytes) return;
  leftBytes += bytes;
  if (leftBytes >= mostBytes) collectGarbage();
  idle ??= setTimeout(collectGarbage, idleMs).unref();
  idle.refresh();
}

/** Collects now: that takes as long as what is in use is large. */
export function collectGarbage(): void {
  leftBytes = 0;
  if (collector === undefined) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as () => void;
  }
  collector();
}
