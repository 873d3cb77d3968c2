import stringWidth from 'string-width';
import { plainLine } from '../lib/shown-text.ts';

/** A column: its heading and what it shows of a row; null and undefined show as a dash. */
export type Column<Row> = readonly [
  heading: string,
  cell: (row: Row) => string | number | boolean | null | undefined,
];

/** Rows as aligned text with a heading line, ending in a newline. */
export function formatTable<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const lines = [
    columns.map(([heading]) => heading.toUpperCase()),
    ...rows.map((row) => columns.map(([, cell]) => cellText(cell(row)))),
  ];
  return alignLines(lines);
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
      widths[index] = Math.max(widths[index] ?? 0, stringWidth(cell));
    });
  }
  const text = lines.map((line) =>
    line
      .map((cell, index) => cell + ' '.repeat((widths[index] ?? 0) - stringWidth(cell)))
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
