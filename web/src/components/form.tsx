import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useContext } from 'preact/hooks';
import { type ApiError, asError } from '../api.ts';
import { frameText } from '../texts/frame.ts';
import { Submitting } from './button.tsx';
import { Fault, Notice } from './page.tsx';

/**
 * A form is submitted once at a time: a second Enter while a call runs is none, and its buttons of type `submit` are busy. What
 * `onSubmit` throws is shown where `FormFault` stands.
 */
export function Form(given: {
  readonly class?: string;
  readonly onSubmit: () => unknown;
  readonly children: ComponentChildren;
}) {
  const isRunning = useSignal(false);
  const error = useSignal<ApiError | undefined>(undefined);
  async function submit(): Promise<void> {
    if (isRunning.peek()) return;
    isRunning.value = true;
    error.value = undefined;
    try {
      await given.onSubmit();
    } catch (thrown) {
      error.value = asError(thrown);
    }
    isRunning.value = false;
  }
  return (
    <Submitting.Provider value={{ isRunning, error }}>
      <form
        class={given.class}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        {given.children}
      </form>
    </Submitting.Provider>
  );
}

/** Why the form was not accepted. */
export function FormFault() {
  const error = useContext(Submitting)?.error.value;
  // Seen after the next sign-in; what the service said is for programs.
  if (error?.status === 401) return <Notice tone="rest">{frameText().notSent}</Notice>;
  return error ? <Fault error={error} /> : null;
}
