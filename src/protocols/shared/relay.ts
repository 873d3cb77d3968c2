import { AppError } from '../../core/errors.ts';
import type { TurnDecoder, UpstreamAnswer } from '../../core/protocol.ts';
import type { FinishReason, TurnEvent, Usage } from '../../core/turn.ts';
import { type JsonObject, jsonBytes, parseJson, parseJsonObject } from '../../lib/parse-json.ts';
import { Utf8Reader } from '../../lib/read-bytes.ts';
import { withoutComments } from './answer-stream.ts';
import { maxAnswerBytes, maxEventBytes, noEnd, tooLong } from './failed-answer.ts';

/**
 * The text of a JSON object with other values for some members: each function gets the text of the value that is there, and a member
 * that is missing is added. All else stays as it was written, also what is unknown here. `body` has been parsed before.
 */
export function editMembers(
  body: string,
  values: Readonly<Record<string, (given: string | undefined) => string>>,
): string {
  const fast = replacedFirst(body, values);
  if (fast !== undefined) return fast;
  let text = '';
  let taken = 0;
  let hasMembers = false;
  const missing = new Map(Object.entries(values));
  let at = body.indexOf('{') + 1;
  for (let nameStart = body.indexOf('"', at); nameStart !== -1; nameStart = body.indexOf('"', at)) {
    hasMembers = true;
    const nameEnd = endOfString(body, nameStart);
    const name = String(JSON.parse(body.slice(nameStart, nameEnd)));
    const start = skipBlanks(body, body.indexOf(':', nameEnd) + 1);
    const end = endOfValue(body, start);
    if (Object.hasOwn(values, name)) {
      text += body.slice(taken, start) + values[name]?.(body.slice(start, end));
      taken = end;
      missing.delete(name);
    }
    at = skipBlanks(body, end);
    if (body[at] !== ',') break;
  }
  const close = body.lastIndexOf('}');
  const added = [...missing].map(([name, value]) => `${JSON.stringify(name)}:${value(undefined)}`).join(',');
  const comma = hasMembers && added !== '' ? ',' : '';
  return text + body.slice(taken, close) + comma + added + body.slice(close);
}

/**
 * The same where one member is asked for that stands first and nowhere else, as most clients write `model`: undefined where that is
 * not sure without reading all of it.
 */
function replacedFirst(body: string, values: Parameters<typeof editMembers>[1]): string | undefined {
  const names = Object.keys(values);
  const [name = ''] = names;
  const quoted = `"${name}"`;
  const start = quoted.length + 2;
  if (names.length !== 1 || !body.startsWith(`{${quoted}:"`)) return undefined;
  const end = endOfString(body, start);
  // V8 finds up to six characters at the speed of a search for one, and more of them not.
  const alike = body.indexOf(quoted.slice(0, 6), end);
  // A name may be written with escapes, too.
  if ((alike !== -1 && body.includes(quoted, alike)) || body.includes('\\u')) return undefined;
  return `{${quoted}:${values[name]?.(body.slice(start, end))}${body.slice(end)}`;
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at += 1;
  return at;
}

/** Just behind the closing quote; `from`: the opening one. */
export function endOfString(text: string, from: number): number {
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

/** In the text of a stream. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** What one event of a relayed stream says. */
export interface ReadEvent {
  /** The answer has begun: text, reasoning, a call. */
  readonly hasContent?: boolean;
  readonly usage?: Usage | undefined;
  /** The client did not ask for it: it is not passed on. */
  readonly isHidden?: boolean;
  /** It is the end mark, and the event is passed on; or the answer failed, and it is not. */
  readonly end?: FinishReason | AppError | undefined;
}

/** Reads what the gateway has to know of one relayed stream, in the words of its dialect. */
export interface RelayTap {
  /** Finds what has to be read of a stream once it has content; all that comes before is read. Global. */
  readonly relevant: RegExp;
  /** Gets the data of an event. */
  read(data: string): ReadEvent;
  /** How the answer ended where its bytes end without the end mark; undefined where it is not whole. */
  endWithoutMark?(): FinishReason | undefined;
  /** What its dialect's clients wait for at the end of an answer: they get it where the upstream has left it out. */
  readonly endMark?: string;
}

const eventEnd = /\r\n\r\n|\n\n|\r\r/g;

/**
 * Passes a stream on as it comes, one text for each read, and reads no more of it than the gateway has to know. Nothing is passed on
 * before the first content, and only whole events are, so that a cut stream can be ended with an error event.
 */
export class StreamRelay implements TurnDecoder {
  readonly #tap: RelayTap;
  readonly #utf8 = new Utf8Reader();
  /** Of an event that has not ended, as it came. */
  #open: string[] = [];
  #openLength = 0;
  /** Events before the first content. */
  #held = '';
  #hasContent = false;
  #isOver = false;
  #answerBytes = 0;

  constructor(tap: RelayTap) {
    this.#tap = tap;
  }

  push(bytes: Uint8Array): readonly TurnEvent[] {
    if (this.#isOver) return [];
    this.#answerBytes += bytes.length;
    const text = this.#utf8.read(bytes);
    this.#open.push(text);
    this.#openLength += text.length;
    if (this.#answerBytes > maxAnswerBytes || this.#openLength > maxEventBytes)
      return this.#failed([], '', tooLong());
    if (!mayEnd(this.#open)) return [];
    const whole = this.#open.length === 1 ? text : this.#open.join('');
    const end = endOfEvents(whole);
    const rest = whole.slice(end);
    this.#open = rest === '' ? [] : [rest];
    this.#openLength = rest.length;
    return this.#read(withoutMalformed(whole.slice(0, end)));
  }

  end(): readonly TurnEvent[] {
    if (this.#isOver) return [];
    // The last event may lack its blank line, but not its end.
    const last = this.#open.join('');
    const data = dataOf(last);
    const isWhole = data === '[DONE]' || parseJsonObject(data) !== undefined;
    const events = isWhole ? this.#read(`${last}\n\n`) : [];
    if (this.#isOver) return events;
    // An error that is plain JSON, and no event.
    const stray = data === '' ? this.#tap.read(withoutComments(this.#held + last)).end : undefined;
    if (stray instanceof AppError) return this.#failed([], '', stray);
    const reason = this.#tap.endWithoutMark?.();
    return [
      ...events,
      ...(reason ? this.#finished([], this.#tap.endMark ?? '', reason) : this.#failed([], '', noEnd())),
    ];
  }

  get isWhole(): boolean {
    return this.#tap.endWithoutMark?.() !== undefined;
  }

  memory(): undefined {}

  #read(text: string): TurnEvent[] {
    const events: TurnEvent[] = [];
    let passed = '';
    let taken = 0;
    for (let next = this.#nextIn(text, 0); next; next = this.#nextIn(text, taken)) {
      passed += text.slice(taken, next.start);
      taken = next.end;
      const event = text.slice(next.start, taken);
      const { hasContent, usage, isHidden, end } = this.#tap.read(dataOf(event));
      if (usage) events.push({ type: 'usage', usage });
      if (end instanceof AppError) return this.#failed(events, passed, end);
      if (!isHidden) passed += event;
      if (end !== undefined) return this.#finished(events, passed, end);
      if (hasContent) this.#hasContent = true;
    }
    passed += text.slice(taken);
    if (!this.#hasContent) {
      this.#held += passed;
      return events;
    }
    if (this.#held + passed !== '') events.unshift(relayed(this.#held + passed));
    this.#held = '';
    return events;
  }

  /** The next event to look at, of whole ones: any before the first content, then the relevant ones. */
  #nextIn(text: string, from: number): Span | undefined {
    if (from === text.length) return undefined;
    let start = from;
    if (this.#hasContent) {
      const { relevant } = this.#tap;
      relevant.lastIndex = from;
      const found = relevant.exec(text);
      if (!found) return undefined;
      start = from + endOfEvents(text.slice(from, found.index));
    }
    eventEnd.lastIndex = start;
    // More line ends than a blank line needs may be left behind the last event.
    return { start, end: eventEnd.test(text) ? eventEnd.lastIndex : text.length };
  }

  #finished(events: readonly TurnEvent[], passed: string, reason: FinishReason): TurnEvent[] {
    this.#isOver = true;
    return [relayed(this.#held + passed), ...events, { type: 'finish', reason }];
  }

  #failed(events: readonly TurnEvent[], passed: string, error: AppError): TurnEvent[] {
    this.#isOver = true;
    const isShown = this.#hasContent && this.#held + passed !== '';
    return [...(isShown ? [relayed(this.#held + passed)] : []), ...events, { type: 'error', error }];
  }
}

/** What an answer that is not streamed says. An error: it failed, or it is no answer. */
export type ReadAnswer = { readonly reason: FinishReason; readonly usage: Usage | undefined } | AppError;

/** Passes an answer that is not streamed on as it came. */
export class WholeRelay implements TurnDecoder {
  readonly isShownAtEnd = true;
  readonly #readAnswer: (answer: JsonObject) => ReadAnswer;
  readonly #parts: Uint8Array[] = [];
  #answerBytes = 0;
  #isOver = false;

  constructor(readAnswer: (answer: JsonObject) => ReadAnswer) {
    this.#readAnswer = readAnswer;
  }

  push(bytes: Uint8Array): readonly TurnEvent[] {
    if (this.#isOver) return [];
    this.#answerBytes += bytes.length;
    if (this.#answerBytes > maxAnswerBytes) return this.#failed(tooLong());
    this.#parts.push(bytes);
    return [];
  }

  end(): readonly TurnEvent[] {
    if (this.#isOver) return [];
    const text = textOf(this.#parts);
    const answer = parseJsonObject(text);
    const read = answer ? this.#readAnswer(answer) : unreadable();
    if (read instanceof AppError) return this.#failed(read);
    this.#isOver = true;
    const { usage, reason } = read;
    return [relayed(text), ...(usage ? [{ type: 'usage' as const, usage }] : []), { type: 'finish', reason }];
  }

  memory(): undefined {}

  #failed(error: AppError): TurnEvent[] {
    this.#isOver = true;
    return [{ type: 'error', error }];
  }
}

/** Of one piece mostly, which is not copied. */
function textOf(parts: readonly Uint8Array[]): string {
  const [first] = parts;
  if (parts.length !== 1 || !first) return Buffer.concat(parts).toString('utf8');
  return Buffer.from(first.buffer, first.byteOffset, first.length).toString('utf8');
}

/** One relayed request, answered as it asks: with events, which `tap` reads, or with JSON. `headers`: beside those that all have. */
export function relayedAnswer(
  {
    path,
    body,
    headers = {},
  }: { readonly path: string; readonly body: string; readonly headers?: Readonly<Record<string, string>> },
  isStream: boolean,
  tap: RelayTap,
  readAnswer: (answer: JsonObject) => ReadAnswer,
): UpstreamAnswer {
  const whole = 'application/json';
  const accept = isStream ? 'text/event-stream' : whole;
  const request = {
    method: 'POST',
    path,
    headers: { 'content-type': 'application/json', accept, ...headers },
    body: jsonBytes(body),
  } as const;
  return isStream
    ? { request, decoder: new StreamRelay(tap) }
    : { request, contentType: whole, decoder: new WholeRelay(readAnswer) };
}

function relayed(text: string): TurnEvent {
  return { type: 'relayed', text };
}

/** Whether an event ends with the last piece: looked for there and just before it, since an event may have very many pieces. */
function mayEnd(pieces: readonly string[]): boolean {
  const last = pieces[pieces.length - 1] ?? '';
  if (last.endsWith('\n\n')) return true;
  let text = '';
  for (let at = pieces.length - 1; at >= 0 && text.length < last.length + 3; at -= 1)
    text = (pieces[at] ?? '') + text;
  eventEnd.lastIndex = 0;
  return eventEnd.test(text);
}

/** Behind the last blank line; 0 where there is none. */
function endOfEvents(text: string): number {
  if (text.endsWith('\n\n')) return text.length;
  let end = 0;
  for (const mark of ['\n\n', '\r\n\r\n', '\r\r']) {
    const last = text.slice(end).lastIndexOf(mark);
    if (last !== -1) end += last + mark.length;
  }
  return end;
}

/** Whole events without those whose data is neither JSON nor an end mark: strict clients fail over one. Only odd ones are parsed. */
function withoutMalformed(text: string): string {
  let sound = '';
  let taken = 0;
  const mayBeUsual = !text.includes('\r');
  for (let at = 0; at < text.length; ) {
    const usualEnd = mayBeUsual ? endOfUsual(text, at) : -1;
    if (usualEnd !== -1) {
      at = usualEnd;
      continue;
    }
    eventEnd.lastIndex = at;
    const end = eventEnd.test(text) ? eventEnd.lastIndex : text.length;
    if (isMalformed(text.slice(at, end))) {
      sound += text.slice(taken, at);
      taken = end;
    }
    at = end;
  }
  return taken === 0 ? text : sound + text.slice(taken);
}

/**
 * Behind an event of one line of data, perhaps below its name, that looks like a JSON object; -1 where it is another. Lines of the
 * text end with line feeds alone.
 */
function endOfUsual(text: string, from: number): number {
  const start = text.startsWith('event: ', from) ? text.indexOf('\n', from) + 1 : from;
  if (start < from || !text.startsWith('data: {"', start)) return -1;
  const end = text.indexOf('\n', start);
  return text.startsWith('}\n\n', end - 1) ? end + 2 : -1;
}

function isMalformed(event: string): boolean {
  const data = dataOf(event);
  if (data === '' || data === '[DONE]') return false;
  const value = parseJson(data);
  return typeof value !== 'object' || value === null;
}

/** What its `data` lines say. */
function dataOf(event: string): string {
  // Mostly there is one line, and no other kind of line end.
  if (event.startsWith('data: ') && event.indexOf('\n') === event.length - 2 && !event.includes('\r'))
    return event.slice('data: '.length, -2).trim();
  return event
    .split(/\r\n|\n|\r/)
    .flatMap((line) => (line.startsWith('data:') ? [line.slice('data:'.length).trimStart()] : []))
    .join('\n')
    .trim();
}

export function unreadable(): AppError {
  return new AppError('upstream_protocol', 'The upstream sent an answer that cannot be read. Try again.');
}
