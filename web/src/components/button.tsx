import { type ReadonlySignal, useSignal } from '@preact/signals';
import { type ComponentChildren, createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { ApiError } from '../api.ts';
import { Icon, type IconName } from './icon.tsx';

interface Submission {
  readonly isRunning: ReadonlySignal<boolean>;
  readonly error: ReadonlySignal<ApiError | undefined>;
}

/** How the form around stands, if there is one; see form.tsx. */
export const Submitting = createContext<Submission | undefined>(undefined);

export interface ButtonProps {
  readonly children?: ComponentChildren;
  /** `primary` once on a page or in a dialog; `danger` for what cannot be taken back. */
  readonly kind?: 'primary' | 'danger' | 'quiet';
  readonly icon?: IconName;
  /** The name of a button that has a picture alone. */
  readonly label?: string;
  readonly type?: 'button' | 'submit';
  readonly isDisabled?: boolean;
  /** While a call runs the button cannot be pressed again. It keeps its focus. */
  readonly onClick?: (event: MouseEvent) => unknown;
}

export function Button(given: ButtonProps) {
  const isPressed = useSignal(false);
  const form = useContext(Submitting);
  const isBusy = isPressed.value || (given.type === 'submit' && form?.isRunning.value === true);
  async function press(event: MouseEvent): Promise<void> {
    if (isPressed.peek()) return;
    const running = given.onClick?.(event);
    if (!(running instanceof Promise)) return;
    isPressed.value = true;
    try {
      await running;
    } finally {
      isPressed.value = false;
    }
  }
  return (
    <button
      type={given.type ?? 'button'}
      class={`button ${given.kind ?? ''} ${given.children ? '' : 'alone'}`}
      aria-label={given.label}
      title={given.children ? undefined : given.label}
      disabled={given.isDisabled === true}
      aria-disabled={isBusy}
      aria-busy={isBusy}
      onClick={(event) => void press(event)}
    >
      {given.icon && <Icon name={given.icon} />}
      {given.children && <span>{given.children}</span>}
    </button>
  );
}
