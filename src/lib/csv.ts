/** What a program for tables may take for a formula, whose cell could then do what it likes. */
const formulaStart = /^[\s]*[=+\-@\t\r\n|%＝＋－＠]/;

/** One line of CSV (RFC 4180). A text that begins like a formula gets an apostrophe before it; numbers stay as they are. */
export function csvLine(cells: readonly (string | number | boolean | null)[]): string {
  return `${cells.map(cell).join(',')}\r\n`;
}

function cell(value: string | number | boolean | null): string {
  if (value === null) return '';
  if (typeof value !== 'string') return String(value);
  const text = formulaStart.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) || text !== value ? `"${text.replaceAll('"', '""')}"` : text;
}
