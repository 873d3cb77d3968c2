import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { type ApiError, asError } from './api.ts';

interface Page<Item, Place> {
  readonly items: readonly Item[];
  /** Null after the last. */
  readonly next: Place | null;
}

/** What lies behind a list that was loaded: `more` loads the next page. It is forgotten whenever a word of `on` changes. */
export function useOlder<Item, Place>(
  load: (place: Place, abort: AbortSignal) => Promise<Page<Item, Place>>,
  on: readonly unknown[],
) {
  const pages = useSignal<Page<Item, Place> | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  const running = useRef<AbortController>(undefined);
  function forget(): void {
    running.current?.abort();
    pages.value = undefined;
    error.value = undefined;
  }
  useLayoutEffect(() => forget, on);

  /** `first`: where the pages begin. */
  async function more(first: Place): Promise<void> {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    try {
      const page = await load(pages.peek()?.next ?? first, abort.signal);
      if (abort.signal.aborted) return;
      pages.value = { items: [...(pages.peek()?.items ?? []), ...page.items], next: page.next };
      error.value = undefined;
    } catch (thrown) {
      if (!abort.signal.aborted) error.value = asError(thrown);
    }
  }
  return { pages, error, more, forget };
}
