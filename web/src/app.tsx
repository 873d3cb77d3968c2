import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { hasExpired } from './api.ts';
import { Button } from './components/button.tsx';
import { Icon } from './components/icon.tsx';
import { Empty, Loading, Notice } from './components/page.tsx';
import { Preferences } from './components/preferences.tsx';
import { Toasts } from './components/toast.tsx';
import { connection } from './live.ts';
import { linkTo, place } from './navigation.ts';
import { type Page, pages, signInPage } from './pages.ts';
import { openDialogs, openSession, type Session, session, sessionFault, signOut } from './session.ts';
import mark from './style/icon.svg';
import { frameText } from './texts/frame.ts';

export function App() {
  const present = session.value;
  return (
    <>
      {present === undefined ? <NoSession /> : <WithSession present={present} />}
      <Toasts />
    </>
  );
}

function NoSession() {
  const text = frameText();
  if (!sessionFault.value) return <Loading />;
  return (
    <main class="alone">
      <Notice tone="bad" action={<Button onClick={openSession}>{text.tryAgain}</Button>}>
        {sessionFault.value.code === 'unreachable' ? text.unreachable : sessionFault.value.message}
      </Notice>
    </main>
  );
}

function WithSession({ present }: { readonly present: Session }) {
  const isSignedOut = present.state === 'signed_out';
  // What a person has typed into a dialog is there again once they have signed in.
  const isKept = hasExpired.value && openDialogs.value > 0;
  return (
    <>
      {(!isSignedOut || isKept) && <Frame key="frame" present={present} />}
      {isSignedOut && <ShownPage key="sign-in" page={signInPage} others={[]} />}
    </>
  );
}

function Frame({ present }: { readonly present: Session }) {
  const text = frameText();
  const isMenuOpen = useSignal(false);
  const menu = useRef<HTMLButtonElement>(null);
  const own = pages.filter(({ services }) => services.includes(present.service));
  const page =
    own.find(({ id }) => id === place.value.page) ?? (place.value.page === '' ? own[0] : undefined);
  const title = page ? text[page.id] : text.noSuchPage;
  useShownPage(page, title, () => {
    isMenuOpen.value = false;
  });
  useLayoutEffect(() => {
    if (!isMenuOpen.value) return;
    const close = ({ key }: KeyboardEvent): void => {
      if (key !== 'Escape') return;
      isMenuOpen.value = false;
      menu.current?.focus();
    };
    addEventListener('keydown', close);
    return () => removeEventListener('keydown', close);
  }, [isMenuOpen.value]);

  return (
    <div class={`frame ${isMenuOpen.value ? 'menu-open' : ''}`}>
      <button type="button" class="skip" onClick={() => document.getElementById('content')?.focus()}>
        {text.skip}
      </button>
      <header class="top">
        <a class="brand" href={linkTo('start')}>
          <img src={mark} alt="" width="22" height="22" />
          <strong>Warp2API</strong>
          <span>{text[present.service]}</span>
        </a>
        <button
          ref={menu}
          type="button"
          class="button quiet alone menu-button"
          aria-label={text.menu}
          aria-expanded={isMenuOpen.value}
          aria-controls="side"
          onClick={() => {
            isMenuOpen.value = !isMenuOpen.value;
          }}
        >
          <Icon name={isMenuOpen.value ? 'close' : 'menu'} />
        </button>
      </header>
      <div class="side" id="side">
        <nav aria-label={text.pages}>
          {own.map(({ id }) => (
            <a key={id} href={linkTo(id)} aria-current={id === page?.id ? 'page' : undefined}>
              <Icon name={id} />
              <span>{text[id]}</span>
            </a>
          ))}
        </nav>
        <div class="side-foot">
          <ConnectionState />
          <Preferences />
          {present.state === 'signed_in' && <Button onClick={signOut}>{text.signOut}</Button>}
          <small class="version">{present.version}</small>
        </div>
      </div>
      <main id="content" tabIndex={-1}>
        {page ? <ShownPage page={page} others={[...own, signInPage]} /> : <Empty title={text.noSuchPage} />}
      </main>
    </div>
  );
}

/** Safari has no idle callbacks. */
const whenIdle = 'requestIdleCallback' in globalThis ? requestIdleCallback : setTimeout;

/** The others are loaded once this one is shown, so that they are there when they are chosen. */
function ShownPage({ page, others }: { readonly page: Page; readonly others: readonly Page[] }) {
  const text = frameText();
  const Component = page.component.value;
  useEffect(() => {
    if (Component === undefined) void page.load();
    else whenIdle(() => others.map((other) => other.load()));
  }, [page, Component]);
  if (Component === undefined) return <Loading />;
  if (Component !== 'missing') return <Component />;
  return (
    <Notice tone="bad" action={<Button onClick={() => location.reload()}>{text.tryAgain}</Button>}>
      {text.missing}
    </Notice>
  );
}

/** The name of the page in the window's title, and focus on its heading: but not when it is the first. */
function useShownPage(page: Page | undefined, title: string, onChange: () => void): void {
  const shown = useRef<string>(undefined);
  const isLoading = page !== undefined && page.component.value === undefined;
  useLayoutEffect(() => {
    document.title = `${title} · Warp2API`;
    if (isLoading) return;
    const id = page?.id ?? '';
    if (shown.current !== undefined && shown.current !== id) {
      onChange();
      scrollTo(0, 0);
      document.getElementById('page-title')?.focus({ preventScroll: true });
    }
    shown.current = id;
  });
}

function ConnectionState() {
  const text = frameText();
  const state = connection.value;
  if (state === 'off') return null;
  const words = { live: text.live, lost: text.lost, connecting: text.connecting, crowded: text.crowded };
  return (
    <p class={`connection ${state}`} role="status">
      {words[state]}
    </p>
  );
}
