import { signal } from '@preact/signals';
import { useLayoutEffect, useState } from 'preact/hooks';
import { ApiError } from '../api.ts';
import { frameText } from '../texts/frame.ts';
import { Icon } from './icon.tsx';

type ToastTone = 'ok' | 'rest' | 'bad';

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly tone: ToastTone;
}

const shown = signal<readonly Toast[]>([]);
const shownMs = 6_000;
const most = 4;
let count = 0;

/** Says shortly what became of an action. What went wrong stays until it is closed. */
export function toast(text: string, tone: ToastTone = 'ok'): void {
  const id = ++count;
  shown.value = [...shown.value, { id, text, tone }].slice(-most);
  if (tone !== 'bad') setTimeout(() => close(id), shownMs);
}

/** Says what a call was refused with. */
export function toastFault(error: unknown): void {
  const isAway = error instanceof ApiError && error.code === 'unreachable';
  toast(isAway ? frameText().unreachable : error instanceof Error ? error.message : String(error), 'bad');
}

function close(id: number): void {
  shown.value = shown.value.filter((one) => one.id !== id);
}

/** The page and the dialogs that are open, the top one last: what lies outside that can neither be pressed nor is it read out. */
const places = signal<readonly symbol[]>([]);

/** Drawn by the page and by every dialog; those of the top one show what there is. */
export function Toasts() {
  const [here] = useState(Symbol);
  useLayoutEffect(() => {
    places.value = [...places.peek(), here];
    return () => {
      places.value = places.peek().filter((place) => place !== here);
    };
  }, []);
  const drawn = places.value.at(-1) === here ? shown.value : [];
  return (
    <div class="toasts" role="status" aria-live="polite">
      {drawn.map(({ id, text, tone }) => (
        <div key={id} class={`toast tone-${tone}`}>
          <Icon name={tone === 'ok' ? 'check' : 'alert'} />
          <span>{text}</span>
          <button type="button" aria-label={frameText().close} onClick={() => close(id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
