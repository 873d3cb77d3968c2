import { createRequire } from 'node:module';
import { plainLine } from '../lib/shown-text.ts';

const require = createRequire(import.meta.url);

/** A column: its heading and what it shows of a row; null and undefined show as a dash. */
export type Column<Row> = readonly [
  heading: string,
  cell: (row: Row) => string | number | boolean | null | undefined,
];

/** Rows as aligned text with a heading line, ending in a newline; empty for no rows. */
export function formatTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  if (rows.length === 0) return '';
  const lines = [
    columns.map(([heading]) => heading.toUpperCase()),
    ...rows.map((row) => columns.map(([, cell]) => cellText(cell(row)))),
  ];
  return alignLines(lines);
}

/** A column that can be shown more briefly, and be left out: sooner with a lower number, undefined never. */
export interface FittingColumn<Row> {
  readonly heading: string;
  readonly cell: Column<Row>[1];
  readonly brief?: Column<Row>[1];
  readonly briefHeading?: string;
  readonly leftOut?: number;
}

/** A table of lines that are no longer than `width`, where that can be. */
export function formatToFit<Row>(
  rows: readonly Row[],
  columns: readonly FittingColumn<Row>[],
  width = Number.POSITIVE_INFINITY,
): string {
  const whole = formatTable(
    rows,
    columns.map(({ heading, cell }) => [heading, cell] as const),
  );
  if (fits(whole, width)) return whole;
  const draw = (leftOut: ReadonlySet<FittingColumn<Row>>) =>
    formatTable(
      rows,
      columns
        .filter((column) => !leftOut.has(column))
        .map(({ heading, cell, brief, briefHeading }) => [briefHeading ?? heading, brief ?? cell] as const),
    );
  // The last to be left out is the first to be put back.
  const leftOut = new Set(columns.filter((column) => column.leftOut !== undefined));
  let table = draw(leftOut);
  for (const column of [...leftOut].sort((one, other) => (other.leftOut ?? 0) - (one.leftOut ?? 0))) {
    leftOut.delete(column);
    const wider = draw(leftOut);
    if (fits(wider, width)) table = wider;
    else leftOut.add(column);
  }
  return table;
}

/** A text, or its beginning where it takes more than so many columns: for names and addresses, which hold no secret. */
export function cutTo(text: string, widest: number): string {
  let shown = '';
  for (const character of text) {
    if (widthOf(shown + character) > widest) return `${shown}…`;
    shown += character;
  }
  return text;
}

/** How far away a time is, such as `in 4 min` or `2 h ago`. */
export function fromNow(time: string | null): string | null {
  if (time === null) return null;
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  const span = spanOf(Math.abs(seconds));
  return seconds < 0 ? `${span} ago` : `in ${span}`;
}

function spanOf(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

export function fits(text: string, width: number): boolean {
  return text.split('\n').every((line) => widthOf(line) <= width);
}

/** Name and value pairs as aligned text, ending in a newline. */
export function formatPairs(
  pairs: readonly (readonly [string, string | number | boolean | null | undefined])[],
): string {
  return alignLines(pairs.map(([name, value]) => [name, cellText(value)]));
}

function alignLines(lines: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const line of lines) {
    line.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, widthOf(cell));
    });
  }
  const text = lines.map((line) =>
    line
      .map((cell, index) => cell + ' '.repeat((widths[index] ?? 0) - widthOf(cell)))
      .join('  ')
      .trimEnd(),
  );
  return `${text.join('\n')}\n`;
}

function cellText(value: string | number | boolean | null | undefined): string {
  if (value === null || value === undefined || value === '') return '-';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  // Labels and messages come from outside: none may begin a line of its own.
  return plainLine(String(value));
}

/** The columns of a terminal that a text takes. */
function widthOf(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  // Loaded for text that needs it: that takes 30 ms.
  const { default: stringWidth } = require('string-width') as typeof import('string-width');
  return stringWidth(text);
}
