import { type Signal, useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { shownNumber } from '../format.ts';
import { frameText } from '../texts/frame.ts';
import { Icon } from './icon.tsx';
import { useKeptFocus, useSteadyRows } from './steady.ts';
import './table.css';

export interface Column<Row> {
  readonly id: string;
  readonly label: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** What rows are sorted by; a column without it is not sortable. Unknown values come last. */
  readonly sort?: (row: Row) => string | number | undefined | null;
  /** The first press of its head sorts downwards. */
  readonly isDescendingFirst?: boolean;
  readonly align?: 'end';
  /** The head is read out only, as for a column of buttons. */
  readonly isHeadHidden?: boolean;
}

interface Order {
  readonly column: string;
  readonly isDescending: boolean;
}

const rowsAtOnce = 100;

/**
 * Rows as they are drawn a hundred at a time, more as the end comes into view. On narrow screens each row is a card.
 */
export function Table<Row>(given: {
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  /** In place of the rows where there are none. */
  readonly empty: ComponentChildren;
  readonly order?: Order;
  /** The keys of rows that are chosen; absent: rows cannot be chosen. `nameOf` says to readers which row it is. */
  readonly chosen?: Signal<ReadonlySet<string>>;
  readonly nameOf?: (row: Row) => string;
  /** Opens a row: by a press anywhere that has no action of its own. Put a link or button in a cell for the keyboard. */
  readonly onOpen?: (row: Row) => void;
  readonly isOpen?: (row: Row) => boolean;
}) {
  const text = frameText();
  const order = useSignal<Order | undefined>(given.order);
  const drawn = useSignal(rowsAtOnce);
  const { columns, keyOf, chosen } = given;
  const body = useRef<HTMLTableSectionElement>(null);
  const steady = useSteadyRows(sortedRows(given.rows, columns, order.value), keyOf, order.value, body);
  const { rows: sorted, hold } = steady;
  useKeptFocus(body);
  if (sorted.length === 0) return <>{given.empty}</>;

  const visible = sorted.slice(0, drawn.value);
  const left = sorted.length - visible.length;
  const more = (): void => {
    drawn.value += rowsAtOnce;
  };
  const keys = chosen ? sorted.map(keyOf) : [];
  const areAllChosen = chosen !== undefined && keys.every((key) => chosen.value.has(key));

  return (
    <div class="table-frame">
      <table aria-label={given.label} aria-rowcount={sorted.length + 1}>
        <thead>
          <tr>
            {chosen && (
              <th class="choose">
                <input
                  type="checkbox"
                  aria-label={text.selectAll}
                  checked={areAllChosen}
                  indeterminate={!areAllChosen && chosen.value.size > 0}
                  onChange={() => {
                    chosen.value = new Set(areAllChosen ? [] : keys);
                  }}
                />
              </th>
            )}
            {columns.map((column) => (
              <Head key={column.id} column={column} order={order} />
            ))}
          </tr>
        </thead>
        <tbody
          ref={body}
          onPointerMove={hold}
          onPointerDown={hold}
          onKeyDown={hold}
          onPointerLeave={() => body.current?.querySelector('.menu') || steady.release()}
        >
          {visible.map((row) => {
            const key = keyOf(row);
            const isChosen = chosen?.value.has(key) === true;
            return (
              <tr
                key={key}
                class={`${isChosen ? 'chosen' : ''} ${given.onOpen ? 'opens' : ''} ${given.isOpen?.(row) ? 'open' : ''}`}
                onClick={(event) => {
                  if (given.onOpen && !isAction(event.target)) given.onOpen(row);
                }}
              >
                {chosen && (
                  <td class="choose">
                    <input
                      type="checkbox"
                      aria-label={text.selectRow(given.nameOf?.(row) ?? key)}
                      checked={isChosen}
                      onChange={() => {
                        const next = new Set(chosen.value);
                        if (!next.delete(key)) next.add(key);
                        chosen.value = next;
                      }}
                    />
                  </td>
                )}
                {columns.map((column) => (
                  <td
                    key={column.id}
                    class={column.align ?? ''}
                    data-label={column.isHeadHidden ? undefined : column.label}
                  >
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
      {left > 0 && <More left={left} onMore={more} />}
    </div>
  );
}

function Head<Row>({
  column,
  order,
}: {
  readonly column: Column<Row>;
  readonly order: Signal<Order | undefined>;
}) {
  const { id, label, sort, align = '', isHeadHidden, isDescendingFirst = false } = column;
  const own = order.value?.column === id ? order.value : undefined;
  if (!sort) {
    return (
      <th class={align} scope="col">
        <span class={isHeadHidden ? 'read-out' : ''}>{label}</span>
      </th>
    );
  }
  return (
    <th class={align} scope="col" aria-sort={own ? (own.isDescending ? 'descending' : 'ascending') : 'none'}>
      <button
        type="button"
        onClick={() => {
          order.value = { column: id, isDescending: own ? !own.isDescending : isDescendingFirst };
        }}
      >
        {label}
        {own && <Icon name={own.isDescending ? 'down' : 'up'} />}
      </button>
    </th>
  );
}

function More({ left, onMore }: { readonly left: number; readonly onMore: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  const latest = useRef(onMore);
  latest.current = onMore;
  useEffect(() => {
    if (!button.current) return;
    const seen = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) latest.current();
      },
      { rootMargin: '400px' },
    );
    seen.observe(button.current);
    return () => seen.disconnect();
  }, [left]);
  return (
    <button ref={button} type="button" class="more-rows" onClick={onMore}>
      {frameText().showMore(shownNumber(left))}
    </button>
  );
}

function sortedRows<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  order: Order | undefined,
): readonly Row[] {
  const sort = columns.find(({ id }) => id === order?.column)?.sort;
  if (!sort || !order) return rows;
  const turn = order.isDescending ? -1 : 1;
  return rows
    .map((row) => ({ row, value: sort(row) ?? undefined }))
    .sort((one, other) => {
      if (one.value === undefined || other.value === undefined) {
        return Number(one.value === undefined) - Number(other.value === undefined);
      }
      return turn * compare(one.value, other.value);
    })
    .map(({ row }) => row);
}

const collator = new Intl.Collator(undefined, { numeric: true });

function compare(one: string | number, other: string | number): number {
  if (typeof one === 'number' && typeof other === 'number') return one - other;
  return collator.compare(String(one), String(other));
}

function isAction(target: EventTarget | null): boolean {
  return (
    target instanceof Element && target.closest('a, button, input, label, select, dialog, .menu') !== null
  );
}
