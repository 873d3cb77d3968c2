/**
 * The body of a relayed request: the client's own text with another model name and, where `asksForUsage`, the wish for usage at the
 * end of the stream. All else stays as it was written, also what nobody here knows. `body` is a JSON object that has been parsed.
 */
export function relayRequest(body: string, model: string, asksForUsage: boolean): string {
  const members = membersOf(body);
  const edits: Edit[] = [];
  for (const member of members.filter(({ name }) => name === 'model')) {
    edits.push({ ...member, text: JSON.stringify(model) });
  }
  if (asksForUsage) {
    const given = members.filter(({ name }) => name === 'stream_options').at(-1);
    if (given) edits.push({ ...given, text: withUsage(body.slice(given.start, given.end)) });
    else {
      const end = body.lastIndexOf('}');
      edits.push({ start: end, end, text: ',"stream_options":{"include_usage":true}' });
    }
  }
  let text = '';
  let taken = 0;
  for (const edit of edits.sort((left, right) => left.start - right.start)) {
    text += body.slice(taken, edit.start) + edit.text;
    taken = edit.end;
  }
  return text + body.slice(taken);
}

function withUsage(options: string): string {
  const value: unknown = JSON.parse(options);
  const others = typeof value === 'object' && value !== null ? value : {};
  return JSON.stringify({ ...others, include_usage: true });
}

interface Span {
  /** Of the value, in the text. */
  readonly start: number;
  readonly end: number;
}
interface Edit extends Span {
  readonly text: string;
}

/** The members of an object's text, in order. */
function membersOf(text: string): (Span & { readonly name: string })[] {
  const members: (Span & { readonly name: string })[] = [];
  let at = text.indexOf('{') + 1;
  for (;;) {
    const nameStart = text.indexOf('"', at);
    if (nameStart === -1) return members;
    const nameEnd = endOfString(text, nameStart);
    const start = skipBlanks(text, text.indexOf(':', nameEnd) + 1);
    const end = endOfValue(text, start);
    members.push({ name: String(JSON.parse(text.slice(nameStart, nameEnd))), start, end });
    at = skipBlanks(text, end);
    if (text[at] !== ',') return members;
  }
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at += 1;
  return at;
}

/** Just behind the closing quote. */
function endOfString(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); ; at = text.indexOf('"', at + 1)) {
    let slashes = 0;
    while (text[at - 1 - slashes] === '\\') slashes += 1;
    if (slashes % 2 === 0) return at + 1;
  }
}

const structural = /["{}[\]]/g;
const scalarEnd = /[\s,}\]]/g;

function endOfValue(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return endOfString(text, start);
  if (first !== '{' && first !== '[') {
    scalarEnd.lastIndex = start;
    return scalarEnd.exec(text)?.index ?? text.length;
  }
  let depth = 0;
  structural.lastIndex = start;
  for (let found = structural.exec(text); found; found = structural.exec(text)) {
    const [mark] = found;
    if (mark === '"') structural.lastIndex = endOfString(text, found.index);
    else if (mark === '{' || mark === '[') depth += 1;
    else {
      depth -= 1;
      if (depth === 0) return found.index + 1;
    }
  }
  return text.length;
}
