/** The events of one response while it is made and for a while after, for whoever follows it. */
export interface EventLog {
  append(text: string): void;
  /** Nothing comes any more. */
  close(): void;
  readonly isClosed: boolean;
  /** The number of the first event that is still there. */
  readonly first: number;
  /** The number the next event gets. */
  readonly next: number;
  at(index: number): string;
  /** Calls `onChange` whenever something came, and at the end; the answer takes that back. */
  watch(onChange: () => void): () => void;
}

/** Holds at most about `maxBytes`; the oldest events go first. */
export function createEventLog(maxBytes: number): EventLog {
  let texts: string[] = [];
  let first = 0;
  let bytes = 0;
  let isClosed = false;
  const watchers = new Set<() => void>();

  const tell = (): void => {
    for (const watcher of [...watchers]) watcher();
  };

  return {
    get isClosed() {
      return isClosed;
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
      if (bytes > maxBytes) {
        // Half of it at once: to drop one event each time would move all others each time.
        let dropped = 0;
        while (bytes > maxBytes / 2 && dropped < texts.length - 1) {
          bytes -= texts[dropped]?.length ?? 0;
          dropped += 1;
        }
        texts = texts.slice(dropped);
        first += dropped;
      }
      tell();
    },
    close() {
      isClosed = true;
      tell();
    },
    at(index) {
      return texts[index - first] ?? '';
    },
    watch(onChange) {
      watchers.add(onChange);
      return () => watchers.delete(onChange);
    },
  };
}
