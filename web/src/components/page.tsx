import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { ApiError, Loaded } from '../api.ts';
import { frameText } from '../texts/frame.ts';
import { Button } from './button.tsx';
import { Icon } from './icon.tsx';

let hasShownPage = false;

/** The title of a page, with its actions at the right. Focus goes here when the page is changed, or what had it is gone. */
export function PageHead(given: {
  readonly title: string;
  readonly lead?: ComponentChildren;
  readonly children?: ComponentChildren;
}) {
  const title = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => {
    if (hasShownPage && document.activeElement === document.body)
      title.current?.focus({ preventScroll: true });
    hasShownPage = true;
  }, []);
  return (
    <header class="page-head">
      <div>
        <h1 ref={title} tabIndex={-1} id="page-title">
          {given.title}
        </h1>
        {given.lead && <p class="lead">{given.lead}</p>}
      </div>
      {given.children && <div class="actions">{given.children}</div>}
    </header>
  );
}

export function Card(given: {
  readonly title?: ComponentChildren;
  readonly actions?: ComponentChildren;
  readonly class?: string;
  readonly children: ComponentChildren;
}) {
  return (
    <section class={`card ${given.class ?? ''}`}>
      {(given.title || given.actions) && (
        <header>
          {given.title && <h2>{given.title}</h2>}
          {given.actions && <div class="actions">{given.actions}</div>}
        </header>
      )}
      {given.children}
    </section>
  );
}

export type Tone = 'ok' | 'rest' | 'spent' | 'bad' | 'quiet' | 'accent';

/** How a turn ended, or that it runs. */
export function outcomeTone(outcome: string | null): Tone {
  if (outcome === null || outcome === 'running') return 'accent';
  if (outcome === 'success') return 'ok';
  return outcome === 'cancelled' ? 'quiet' : 'bad';
}

/** One figure with its name; `note` stands below. */
export function Stat(given: {
  readonly name: string;
  readonly value: ComponentChildren;
  readonly note?: ComponentChildren;
  readonly tone?: Tone;
}) {
  return (
    <div class={`stat ${given.tone ? `tone-${given.tone}` : ''}`}>
      <dt>{given.name}</dt>
      <dd>{given.value}</dd>
      {given.note && <dd class="note">{given.note}</dd>}
    </div>
  );
}

/** Figures beside each other. */
export function Stats({ children }: { readonly children: ComponentChildren }) {
  return <dl class="stats">{children}</dl>;
}

/** Names and values; what there is nothing of is left out. */
export function Facts({ facts }: { readonly facts: readonly (readonly [string, ComponentChildren])[] }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== false);
  return (
    <dl class="facts">
      {known.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A word for a state: a dot of its colour, and the word, since colour alone says nothing to many. */
export function Badge({ tone, children }: { readonly tone: Tone; readonly children: ComponentChildren }) {
  return <span class={`badge tone-${tone}`}>{children}</span>;
}

export function Notice(given: {
  readonly tone: 'bad' | 'rest' | 'ok' | 'accent';
  readonly children: ComponentChildren;
  readonly action?: ComponentChildren;
}) {
  return (
    <div class={`notice tone-${given.tone}`} role={given.tone === 'bad' ? 'alert' : 'status'}>
      <Icon name={given.tone === 'ok' ? 'check' : given.tone === 'accent' ? 'info' : 'alert'} />
      <div>{given.children}</div>
      {given.action}
    </div>
  );
}

/** What a call was refused with, in the service's own words, and a way to try again. */
export function Fault({ error, retry }: { readonly error: ApiError; readonly retry?: () => unknown }) {
  const text = frameText();
  return (
    <Notice tone="bad" action={retry && <Button onClick={retry}>{text.tryAgain}</Button>}>
      {error.code === 'unreachable' ? text.unreachable : error.message}
      {error.requestId && (
        <small>
          {text.requestId} <code>{error.requestId}</code>
        </small>
      )}
    </Notice>
  );
}

/** What was loaded, or that it is being loaded, or why it was not. What was there before stays below its fault. */
export function Shown<Value>({
  of: { value, error, reload },
  children,
}: {
  readonly of: Loaded<Value>;
  readonly children: (value: Value) => ComponentChildren;
}) {
  return (
    <>
      {error.value && <Fault error={error.value} retry={reload} />}
      {value.value === undefined ? !error.value && <Loading /> : children(value.value)}
    </>
  );
}

/** In place of what is not there yet, with what to do. */
export function Empty(given: {
  readonly title: string;
  readonly children?: ComponentChildren;
  readonly action?: ComponentChildren;
}) {
  return (
    <div class="empty">
      <p class="empty-title">{given.title}</p>
      {given.children && <p>{given.children}</p>}
      {given.action}
    </div>
  );
}

/** Shown only when loading takes a moment. */
export function Loading() {
  return (
    <div class="loading" role="status">
      {frameText().loading}
    </div>
  );
}
