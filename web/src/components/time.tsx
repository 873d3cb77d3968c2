import { useSignal } from '@preact/signals';
import { exactTime, now, relativeTime, shortTime, shownDuration } from '../format.ts';
import { blursEmails } from '../preferences.ts';

type At = string | number | null | undefined;

const msOf = (at: At): number => (typeof at === 'number' ? at : Date.parse(at ?? ''));

/** A time in the viewer's zone; pointed at, it is exact. `relative`: 3 minutes ago. */
export function Time({ at, relative }: { readonly at: At; readonly relative?: boolean }) {
  const ms = msOf(at);
  if (Number.isNaN(ms)) return <span class="quiet">–</span>;
  return (
    <time dateTime={new Date(ms).toISOString()} title={exactTime(ms)}>
      {relative ? relativeTime(ms) : shortTime(ms)}
    </time>
  );
}

/** How long until a time; nothing once it has passed. */
export function Countdown({ to }: { readonly to: At }) {
  const ms = msOf(to);
  const left = ms - now.value;
  if (Number.isNaN(left) || left <= 0) return null;
  return (
    <time dateTime={new Date(ms).toISOString()} title={exactTime(ms)}>
      {shownDuration(Math.ceil(left / 1_000) * 1_000)}
    </time>
  );
}

/** An address that can be blurred for pictures; a press shows one. */
export function Email({ address }: { readonly address: string }) {
  const isShown = useSignal(false);
  if (blursEmails.value === 'no') return <span>{address}</span>;
  return (
    <button
      type="button"
      class={`email ${isShown.value ? 'shown' : ''}`}
      onClick={() => {
        isShown.value = !isShown.value;
      }}
    >
      {address}
    </button>
  );
}
