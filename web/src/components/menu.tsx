import { useSignal } from '@preact/signals';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import { frameText } from '../texts/frame.ts';
import { Icon, type IconName } from './icon.tsx';
import './menu.css';

export interface MenuItem {
  readonly label: string;
  readonly icon?: IconName;
  readonly isDanger?: boolean;
  readonly isDisabled?: boolean;
  readonly onSelect: () => unknown;
}

/** A button with a list of actions: arrows move, Escape closes, letters jump. */
export function Menu(given: {
  readonly items: readonly MenuItem[];
  readonly label?: string;
  readonly icon?: IconName;
}) {
  const isOpen = useSignal(false);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const id = useId();
  const label = given.label ?? frameText().more;

  // Before the next key is read: a letter typed right after the menu was opened is meant for the menu.
  useLayoutEffect(() => {
    const { current } = list;
    if (!isOpen.value || !current || !button.current) return;
    current.showPopover();
    placeBeside(current, button.current);
    itemsOf(current)[0]?.focus({ preventScroll: true });
    const follow = (): void => {
      if (button.current) placeBeside(current, button.current);
    };
    addEventListener('scroll', follow, { capture: true });
    return () => removeEventListener('scroll', follow, { capture: true });
  }, [isOpen.value]);

  function move(event: KeyboardEvent): void {
    const items = list.current ? itemsOf(list.current) : [];
    const at = items.indexOf(document.activeElement as HTMLButtonElement);
    const to =
      event.key === 'ArrowDown'
        ? (at + 1) % items.length
        : event.key === 'ArrowUp'
          ? (at - 1 + items.length) % items.length
          : event.key === 'Home'
            ? 0
            : event.key === 'End'
              ? items.length - 1
              : event.key.length === 1
                ? items.findIndex((item) =>
                    item.textContent?.toLowerCase().startsWith(event.key.toLowerCase()),
                  )
                : -1;
    if (event.key === 'Escape' || event.key === 'Tab') {
      if (event.key === 'Escape') event.preventDefault();
      isOpen.value = false;
      button.current?.focus();
    }
    if (to < 0) return;
    event.preventDefault();
    items[to]?.focus();
  }

  return (
    <>
      <button
        ref={button}
        type="button"
        class="button quiet alone"
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={isOpen.value}
        aria-controls={isOpen.value ? id : undefined}
        onClick={() => {
          isOpen.value = !isOpen.value;
        }}
        onKeyDown={(event) => {
          if (event.key !== 'ArrowDown') return;
          event.preventDefault();
          isOpen.value = true;
        }}
      >
        <Icon name={given.icon ?? 'more'} />
      </button>
      {isOpen.value && (
        <div
          ref={list}
          id={id}
          class="menu"
          role="menu"
          aria-label={label}
          popover="auto"
          tabIndex={-1}
          onKeyDown={move}
          onToggle={(event) => {
            if (event.newState === 'closed') isOpen.value = false;
          }}
        >
          {given.items.map((item) => (
            <button
              key={item.label}
              type="button"
              role="menuitem"
              tabIndex={-1}
              class={item.isDanger ? 'danger' : ''}
              disabled={item.isDisabled}
              onClick={() => {
                isOpen.value = false;
                button.current?.focus();
                void item.onSelect();
              }}
            >
              {item.icon && <Icon name={item.icon} />}
              {item.label}
            </button>
          ))}
        </div>
      )}
    </>
  );
}

function placeBeside(list: HTMLElement, button: HTMLElement): void {
  const { right, top, bottom } = button.getBoundingClientRect();
  const { offsetWidth, offsetHeight } = list;
  const below = bottom + 4;
  list.style.left = `${Math.max(8, Math.min(right - offsetWidth, innerWidth - offsetWidth - 8))}px`;
  list.style.top = `${below + offsetHeight > innerHeight - 8 ? Math.max(8, top - offsetHeight - 4) : below}px`;
}

function itemsOf(list: HTMLElement): HTMLButtonElement[] {
  return [...list.querySelectorAll<HTMLButtonElement>('[role=menuitem]:not(:disabled)')];
}
