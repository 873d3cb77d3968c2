import { computed, effect, signal } from '@preact/signals';
import type { Figures, GatewayEvent } from '../../src/gateway/http/live-events.ts';
import { openSession, session } from './session.ts';

/** The one connection over which the service says what happens. */

/** `off` until a session is there; `crowded`: the service has as many pages to tell as it takes, and is asked instead. */
export const connection = signal<'off' | 'connecting' | 'live' | 'lost' | 'crowded'>('off');
export const figures = signal<Figures | undefined>(undefined);
/** Rises, at most twice a second, when accounts have changed: to load again on. */
export const accountChanges = signal(0);
/** The same for turns that began or ended. */
export const turnChanges = signal(0);

const listeners = new Set<(event: GatewayEvent) => void>();

/** The answer ends the subscription. */
export function onLive(listener: (event: GatewayEvent) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** A browser has six connections to a service for all of its tabs: a tab that is not looked at needs none. */
const isHidden = signal(document.hidden);
document.addEventListener('visibilitychange', () => {
  isHidden.value = document.hidden;
});
const isOpen = computed(
  () => !isHidden.value && session.value !== undefined && session.value.state !== 'signed_out',
);
let hasOpened = false;

effect(() => {
  if (!isOpen.value) {
    connection.value = 'off';
    return;
  }
  connection.value = 'connecting';
  let source: EventSource | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const open = (): void => {
    source = new EventSource('/api/events');
    source.onopen = () => {
      // Events of turns are not sent again.
      if (hasOpened || connection.value === 'lost') noteAll();
      hasOpened = true;
      connection.value = 'live';
    };
    source.onmessage = ({ data }) => take(JSON.parse(data) as GatewayEvent);
    source.addEventListener('reset', noteAll);
    source.onerror = () => {
      if (connection.peek() !== 'crowded') connection.value = 'lost';
      // After an answer that is no stream a browser does not try again.
      if (source?.readyState === EventSource.CLOSED) void askAgain(source);
    };
  };
  async function askAgain(refused: EventSource): Promise<void> {
    // It may be that the session has ended.
    void openSession();
    const isCrowded = await refusesStreams();
    if (source !== refused) return;
    connection.value = isCrowded ? 'crowded' : 'lost';
    if (isCrowded) {
      figures.value = undefined;
      noteAll();
    }
    retry = setTimeout(open, isCrowded ? 10_000 : 5_000);
  }
  open();
  return () => {
    clearTimeout(retry);
    source?.close();
    source = undefined;
  };
});

/** A stream does not say what it was refused with. */
async function refusesStreams(): Promise<boolean> {
  const abort = new AbortController();
  const answer = await fetch('/api/events', { cache: 'no-store', signal: abort.signal }).catch(
    () => undefined,
  );
  abort.abort();
  return answer?.status === 503;
}

function take(event: GatewayEvent): void {
  if (event.type === 'reset') noteAll();
  else if (event.type === 'figures') figures.value = event;
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

/** What was missed is no longer known: everything may have changed. */
function noteAll(): void {
  noteAccounts();
  noteTurns();
}

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
