import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import { frameText } from '../texts/frame.ts';
import { Button } from './button.tsx';
import { Toasts } from './toast.tsx';

/**
 * A dialog that is open as long as it is drawn. Escape and its cross close it; a press beside it does not, since what was typed
 * would be lost. Focus is kept inside and goes back where it was, by the browser.
 */
export function Dialog(given: {
  readonly title: string;
  readonly onClose: () => void;
  readonly isWide?: boolean;
  /** What stands at the bottom: the action last. */
  readonly actions?: ComponentChildren;
  /** With it the content is a form; its button of type `submit` is among the actions. */
  readonly onSubmit?: () => unknown;
  readonly children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const opener = useRef(document.activeElement);
  // Before the next key is read: what is typed right after it was opened is meant for the dialog.
  useLayoutEffect(() => {
    const { current } = dialog;
    current?.showModal();
    const before = opener.current;
    return () => {
      current?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  const inside = (
    <>
      <header>
        <h2 id={titleId}>{given.title}</h2>
        <Button kind="quiet" icon="close" label={frameText().close} onClick={given.onClose} />
      </header>
      <div class="dialog-body">{given.children}</div>
      {given.actions && <footer>{given.actions}</footer>}
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
      {given.onSubmit ? (
        <form
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            void given.onSubmit?.();
          }}
        >
          {inside}
        </form>
      ) : (
        inside
      )}
      <Toasts />
    </dialog>
  );
}

/** Asks before something that cannot be taken back; `children` name what it will do. */
export function Confirm(given: {
  readonly title: string;
  readonly action: string;
  readonly onConfirm: () => unknown;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}) {
  return (
    <Dialog
      title={given.title}
      onClose={given.onClose}
      actions={
        <>
          <Button onClick={given.onClose}>{frameText().cancel}</Button>
          <Button kind="danger" onClick={given.onConfirm}>
            {given.action}
          </Button>
        </>
      }
    >
      {given.children}
    </Dialog>
  );
}
