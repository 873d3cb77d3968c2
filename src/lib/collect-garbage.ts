import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What is smaller is left to V8. */
const leastBytes = 4 * 1024 * 1024;
/** So much large garbage is collected at once. */
const mostBytes = 96 * 1024 * 1024;
const idleMs = 1_000;

let collector: (() => void) | undefined;
let leftBytes = 0;
let idle: NodeJS.Timeout | undefined;

/**
 * Notes that large work leaves about so many bytes behind. V8 by itself lets a gigabyte of dead strings and buffers lie, for as
 * long as nothing new is asked of it. Collecting takes some tens of milliseconds, hardly more where the garbage is large.
 */
export function leaveGarbage(bytes: number): void {
  if (bytes < leastBytes) return;
  leftBytes += bytes;
  if (leftBytes >= mostBytes) collect();
  idle ??= setTimeout(collect, idleMs).unref();
  idle.refresh();
}

function collect(): void {
  leftBytes = 0;
  if (collector === undefined) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as () => void;
  }
  collector();
}
