import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { ApiError, hasExpired } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { TextField } from '../../components/field.tsx';
import { Form } from '../../components/form.tsx';
import { Notice } from '../../components/page.tsx';
import { Preferences } from '../../components/preferences.tsx';
import { isPlainHttp, openDialogs, session, signIn } from '../../session.ts';
import mark from '../../style/icon.svg';
import { frameText } from '../../texts/frame.ts';
import { signInText } from '../../texts/sign-in.ts';

export function SignInPage() {
  return openDialogs.value > 0 ? <SignInAbove /> : <SignIn />;
}

/** Covers the page that stays, and the dialogs that are open on it. */
function SignInAbove() {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const { current } = dialog;
    current?.showModal();
    // Browsers close a dialog at the second Escape, whatever the first was answered with.
    const openAgain = (): void => current?.showModal();
    current?.addEventListener('close', openAgain);
    return () => {
      current?.removeEventListener('close', openAgain);
      current?.close();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class="covering"
      aria-label={signInText().title}
      onCancel={(event) => event.preventDefault()}
    >
      <SignIn />
    </dialog>
  );
}

function SignIn() {
  const text = signInText();
  const frame = frameText();
  const key = useSignal('');
  const fault = useSignal<string | undefined>(undefined);
  const form = useRef<HTMLElement>(null);
  useEffect(() => {
    document.title = `${text.title} · Warp2API`;
  }, [text]);
  useLayoutEffect(() => form.current?.querySelector('input')?.focus(), []);

  async function submit(): Promise<void> {
    fault.value = undefined;
    if (key.value.trim() === '') {
      fault.value = text.empty;
      return;
    }
    try {
      await signIn(key.value.trim());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fault.value =
        error.code === 'unreachable'
          ? frame.unreachable
          : error.status === 401
            ? text.wrong
            : error.status === 429 && error.retryAfterSeconds !== undefined
              ? text.slow(String(error.retryAfterSeconds))
              : error.message;
      form.current?.querySelector('input')?.focus();
    }
  }

  return (
    <main class="sign-in" ref={form}>
      <Form onSubmit={submit}>
        <p class="brand">
          <img src={mark} alt="" width="28" height="28" />
          <strong>Warp2API</strong>
          {session.value && <span>{frame[session.value.service]}</span>}
        </p>
        <h1>{text.title}</h1>
        <p class="lead">{text.lead}</p>
        {isPlainHttp && <Notice tone="rest">{text.plainHttp}</Notice>}
        {hasExpired.value && <Notice tone="rest">{text.expired}</Notice>}
        <TextField
          label={text.key}
          hint={text.hint}
          error={fault.value}
          value={key}
          type="password"
          autoComplete="current-password"
          isCode
          isRequired
        />
        <Button type="submit" kind="primary">
          {text.title}
        </Button>
      </Form>
      <Preferences />
    </main>
  );
}
