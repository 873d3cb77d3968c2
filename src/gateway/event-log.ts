/** The events of one response while it is made and for a while after, for whoever follows it. */
export interface EventLog {
  append(text: string): void;
  /** Nothing comes any more. `rest` is no event, it stands behind the last one. */
  close(rest?: string): void;
  readonly isClosed: boolean;
  readonly rest: string;
  /** The number of the first event that is still there. */
  readonly first: number;
  /** The number the next event gets. */
  readonly next: number;
  at(index: number): string;
  /**
   * Calls `onChange` whenever something came, and at the end; the answer takes that back. `next` is the number of the
   * event the watcher waits for: what comes after stays, up to a limit.
   */
  watch(onChange: () => void, next?: () => number): () => void;
}

/**
 * Holds at most about `maxBytes`, and four times as much while somebody reads: the last events of an answer repeat all of
 * it at once, and a reader as fast as any takes them one after another. The oldest events go first.
 */
export function createEventLog(maxBytes: number): EventLog {
  const maxWatchedBytes = 4 * maxBytes;
  let texts: string[] = [];
  let first = 0;
  let bytes = 0;
  let isClosed = false;
  let rest = '';
  const watchers = new Map<() => void, () => number>();

  const tell = (): void => {
    for (const watcher of [...watchers.keys()]) watcher();
  };

  function drop(): void {
    if (bytes <= maxBytes) return;
    const end = first + texts.length;
    const needed =
      bytes > maxWatchedBytes ? end : Math.min(end - 1, ...[...watchers.values()].map((next) => next()));
    // Half of it at once: to drop one event each time would move all others each time.
    let dropped = 0;
    while (bytes > maxBytes / 2 && dropped < texts.length - 1 && first + dropped < needed) {
      bytes -= texts[dropped]?.length ?? 0;
      dropped += 1;
    }
    if (dropped === 0) return;
    texts = texts.slice(dropped);
    first += dropped;
  }

  return {
    get isClosed() {
      return isClosed;
    },
    get rest() {
      return rest;
    },
    get first() {
      return first;
    },
    get next() {
      return first + texts.length;
    },
    append(text) {
      texts.push(text);
      bytes += text.length;
      drop();
      tell();
    },
    close(given = '') {
      isClosed = true;
      rest = given;
      tell();
    },
    at(index) {
      return texts[index - first] ?? '';
    },
    watch(onChange, next = () => Number.POSITIVE_INFINITY) {
      watchers.set(onChange, next);
      return () => {
        watchers.delete(onChange);
        drop();
      };
    },
  };
}
