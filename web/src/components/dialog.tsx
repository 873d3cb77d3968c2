import type { ComponentChildren, RefObject } from 'preact';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import { openDialogs } from '../session.ts';
import { frameText } from '../texts/frame.ts';
import { Button } from './button.tsx';
import { Form, FormFault } from './form.tsx';
import { Toasts } from './toast.tsx';
import './dialog.css';

/**
 * For a dialog that is open as long as it is drawn. It is opened before the next key is read: what is typed right after is meant
 * for it. Focus goes back where it was; where that is gone, to what lies below.
 */
export function useModal(): RefObject<HTMLDialogElement | null> {
  const dialog = useRef<HTMLDialogElement>(null);
  const opener = useRef(document.activeElement);
  useLayoutEffect(() => {
    const { current } = dialog;
    current?.showModal();
    openDialogs.value += 1;
    current?.querySelector<HTMLElement>('.dialog-body :is(input, select, textarea), footer button')?.focus();
    return () => {
      current?.close();
      openDialogs.value -= 1;
      // Once all of this change is drawn.
      queueMicrotask(() => {
        if (document.activeElement !== document.body) return;
        const before = opener.current;
        const below = [...document.querySelectorAll<HTMLElement>('#page-title, dialog[open] h2')].at(-1);
        const isThere = before instanceof HTMLElement && before !== document.body && before.isConnected;
        (isThere ? before : below)?.focus({ preventScroll: true });
      });
    };
  }, []);
  return dialog;
}

interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly isWide?: boolean;
  readonly children: ComponentChildren;
}

/** Escape and its cross close it; a press beside it does not, since what was typed would be lost. */
export function Dialog({
  actions,
  onSubmit,
  ...given
}: DialogProps & {
  /** What stands at the bottom: the action last. */
  readonly actions?: ComponentChildren;
  /** With it the content is a form; its button of type `submit` is among the actions. */
  readonly onSubmit?: () => unknown;
}) {
  const dialog = useModal();
  const titleId = useId();
  const inside = (
    <>
      <header>
        <h2 id={titleId} tabIndex={-1}>
          {given.title}
        </h2>
        <Button kind="quiet" icon="close" label={frameText().close} onClick={given.onClose} />
      </header>
      <div class="dialog-body">
        <FormFault />
        {given.children}
      </div>
      {actions && <footer>{actions}</footer>}
    </>
  );
  return (
    <dialog
      ref={dialog}
      class={given.isWide ? 'wide' : ''}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        given.onClose();
      }}
    >
      {onSubmit ? <Form onSubmit={onSubmit}>{inside}</Form> : inside}
      <Toasts />
    </dialog>
  );
}

/** A form in a dialog. What `onSubmit` throws is shown in it. */
export function FormDialog({
  action,
  kind = 'primary',
  isDisabled = false,
  ...given
}: DialogProps & {
  readonly action: string;
  /** `danger` asks before something that cannot be taken back; `children` name what it will do. */
  readonly kind?: 'primary' | 'danger';
  readonly isDisabled?: boolean;
  readonly onSubmit: () => unknown;
}) {
  return (
    <Dialog
      {...given}
      actions={
        <>
          <Button onClick={given.onClose}>{frameText().cancel}</Button>
          <Button type="submit" kind={kind} isDisabled={isDisabled}>
            {action}
          </Button>
        </>
      }
    />
  );
}
