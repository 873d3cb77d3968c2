import { useSignal } from '@preact/signals';
import type { RefObject } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';

const stillMs = 800;

/**
 * Rows as they stood, with their present content, while a person points at one, presses a key in one or has a menu of one open:
 * what moves under the pointer gets a press that was meant for another. `order` is what the person chose, and counts immediately.
 */
export function useSteadyRows<Row>(
  rows: readonly Row[],
  keyOf: (row: Row) => string,
  order: unknown,
  body: RefObject<HTMLElement | null>,
): { readonly rows: readonly Row[]; readonly hold: () => void; readonly release: () => void } {
  const isHeld = useSignal(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const shown = useRef({ rows, order });
  if (!isHeld.value || shown.current.order !== order) shown.current = { rows, order };
  else {
    const present = new Map(rows.map((row) => [keyOf(row), row]));
    shown.current.rows = shown.current.rows.map((row) => present.get(keyOf(row)) ?? row);
  }
  function release(): void {
    clearTimeout(timer.current);
    isHeld.value = false;
  }
  function hold(): void {
    clearTimeout(timer.current);
    isHeld.value = true;
    timer.current = setTimeout(() => (body.current?.querySelector('.menu') ? hold() : release()), stillMs);
  }
  useLayoutEffect(() => release, []);
  return { rows: shown.current.rows, hold, release };
}

/** Browsers take the focus from what is moved or removed: it is given back, or to the row that has come in its place. */
export function useKeptFocus(body: RefObject<HTMLElement | null>): void {
  const focused = document.activeElement;
  const row =
    focused instanceof HTMLElement && body.current?.contains(focused) ? focused.closest('tr') : null;
  const at = row ? [...(row.parentElement?.children ?? [])].indexOf(row) : -1;
  useLayoutEffect(() => {
    if (!row || document.activeElement === focused) return;
    const rows = body.current?.children ?? [];
    const next = focused?.isConnected
      ? focused
      : rows[Math.min(at, rows.length - 1)]?.querySelector('a, button');
    if (next instanceof HTMLElement && document.activeElement === document.body)
      next.focus({ preventScroll: true });
  });
}
