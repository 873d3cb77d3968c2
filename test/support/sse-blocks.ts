export interface SseBlock {
  readonly event: string | undefined;
  readonly data: string;
}

/** The events of a whole body. Comments are dropped; a line of another kind, or an end in the middle, is a fault. */
export function sseBlocks(body: string): SseBlock[] {
  if (body === '') return [];
  must(body.endsWith('\n\n'), `the body ends inside an event: ${JSON.stringify(body.slice(-80))}`);
  return body
    .slice(0, -2)
    .split('\n\n')
    .flatMap((block) => {
      const lines = block.split('\n').filter((line) => !line.startsWith(':'));
      const data = lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6));
      const events = lines.filter((line) => line.startsWith('event: ')).map((line) => line.slice(7));
      must(data.length + events.length === lines.length, `a line of another kind: ${JSON.stringify(block)}`);
      if (lines.length === 0) return [];
      const [only, ...more] = data;
      must(only !== undefined && more.length === 0, `${data.length} data lines in ${JSON.stringify(block)}`);
      must(events.length <= 1, `${events.length} event lines in ${JSON.stringify(block)}`);
      return [{ event: events[0], data: only }];
    });
}

export type Fields = Readonly<Record<string, unknown>>;

export function must(isSo: boolean, fault: string): asserts isSo {
  if (!isSo) throw new Error(`The stream is not well-formed: ${fault}`);
}

export function fieldsOf(value: unknown, what: string): Fields {
  must(typeof value === 'object' && value !== null && !Array.isArray(value), `${what} is no object`);
  return value as Fields;
}

export function jsonOf(data: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    value = undefined;
  }
  return fieldsOf(value, `the data ${data.slice(0, 200)}`);
}

export function textAt(fields: Fields, name: string): string {
  const value = fields[name];
  must(typeof value === 'string', `${name} is no string in ${JSON.stringify(fields).slice(0, 300)}`);
  return value;
}

/** A string that says something. */
export function wordAt(fields: Fields, name: string): string {
  const value = textAt(fields, name);
  must(value !== '', `${name} is empty in ${JSON.stringify(fields).slice(0, 300)}`);
  return value;
}

export function countAt(fields: Fields, name: string): number {
  const value = fields[name];
  must(Number.isInteger(value) && (value as number) >= 0, `${name} is ${String(value)}, no count`);
  return value as number;
}

export function listAt(fields: Fields, name: string): readonly unknown[] {
  const value = fields[name];
  must(Array.isArray(value), `${name} is no list`);
  return value;
}
