import { effect, signal } from '@preact/signals';
import type { PoolEvent } from '../../src/pool-api/schema.ts';
import { session } from './session.ts';

/** The one connection over which the service says what happens. */

/** Figures of the gateway, every second. */
export interface Figures {
  readonly type: 'figures';
  readonly at: string;
  readonly running_turns: number;
  readonly waiting_turns: number;
  /** In the last minute. */
  readonly turns_per_minute: number;
  readonly errors_per_minute: number;
  /** The median of the last minute; null where none was seen. */
  readonly first_content_ms: number | null;
}

export interface TurnBegan {
  readonly type: 'turn-began';
  readonly request_id: string;
}

export interface TurnEnded {
  readonly type: 'turn-ended';
  readonly request_id: string;
  /** `success` or the code of an error. */
  readonly outcome: string;
}

export type LiveEvent = PoolEvent | Figures | TurnBegan | TurnEnded;

/** `off` until a session is there. */
export const connection = signal<'off' | 'connecting' | 'live' | 'lost'>('off');
export const figures = signal<Figures | undefined>(undefined);
/** Rises, at most twice a second, when accounts have changed: to load again on. */
export const accountChanges = signal(0);
/** The same for turns that began or ended. */
export const turnChanges = signal(0);

const listeners = new Set<(event: LiveEvent) => void>();

/** The answer ends the subscription. */
export function onLive(listener: (event: LiveEvent) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The gateway has no events yet. */
const isOpen = (): boolean => session.value?.service === 'pool' && session.value.state !== 'signed_out';

effect(() => {
  if (!isOpen()) {
    connection.value = 'off';
    return;
  }
  connection.value = 'connecting';
  let source: EventSource | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const open = (): void => {
    source = new EventSource('/api/events');
    source.onopen = () => {
      connection.value = 'live';
    };
    source.onmessage = ({ data }) => take(JSON.parse(data) as LiveEvent);
    // What was missed is no longer known: everything may have changed.
    source.addEventListener('reset', () => {
      noteAccounts();
      noteTurns();
    });
    source.onerror = () => {
      connection.value = 'lost';
      // After an answer that is no stream a browser does not try again.
      if (source?.readyState === EventSource.CLOSED) retry = setTimeout(open, 5_000);
    };
  };
  open();
  return () => {
    clearTimeout(retry);
    source?.close();
  };
});

function take(event: LiveEvent): void {
  if (event.type === 'figures') figures.value = event;
  else if (event.type === 'account-changed' || event.type === 'account-removed') noteAccounts();
  else if (event.type === 'turn-began' || event.type === 'turn-ended') noteTurns();
  for (const listener of listeners) listener(event);
}

const noteAccounts = gathered(() => {
  accountChanges.value += 1;
});
const noteTurns = gathered(() => {
  turnChanges.value += 1;
});

/** Many calls in half a second are one. */
function gathered(act: () => void): () => void {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    setTimeout(() => {
      isWaiting = false;
      act();
    }, 500);
  };
}
