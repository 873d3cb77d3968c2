import { AppError } from '../../core/errors.ts';
import type { TurnDecoder } from '../../core/protocol.ts';
import type { FinishReason, TurnEvent } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { maxAnswerBytes, maxEventBytes, noEnd, tooLong } from '../shared/failed-answer.ts';
import { classifyNamed, errorIn } from '../shared/openai-failure.ts';
import { finishOf, readUsage } from './decode-stream.ts';

/**
 * The body of a relayed request: the client's own text with another model name and, where `asksForUsage`, the wish for usage at the
 * end of the stream. All else stays as it was written, also fields that are unknown here. `body` is a JSON object that has been parsed.
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

/** What of a stream has to be looked at once it has begun: usage, the finish, an error, the end mark. */
const telling =
  /"(?:usage"\s*:\s*\{|finish_reason"\s*:\s*"|error"\s*:\s*[{"]|object"\s*:\s*"error")|\[DONE\]/g;
const eventEnd = /\r\n\r\n|\n\n|\r\r/g;

/**
 * Passes a stream on as it comes, one text for each read, and reads no more of it than the gateway has to know. Nothing is passed on
 * before the first content, and only whole events are, so that a cut stream can be ended with an error event. `hidesUsage`: the
 * chunk with usage that the client did not ask for is taken out. `choices`: answers asked for.
 */
export function createStreamRelay({
  hidesUsage,
  choices: asked,
}: {
  readonly hidesUsage: boolean;
  readonly choices: number;
}): TurnDecoder {
  const decoder = new TextDecoder();
  /** Of an event that has not ended, as it came. */
  let open: string[] = [];
  let openLength = 0;
  /** Events before the first content. */
  let held = '';
  let hasContent = false;
  const ended = new Set<unknown>();
  let isOver = false;
  let reason: FinishReason | undefined;
  let answerBytes = 0;

  /** The next event to look at, of whole ones: any before the first content, then those that tell something. */
  function nextIn(text: string, from: number): Span | undefined {
    if (from === text.length) return undefined;
    let start = from;
    if (hasContent) {
      telling.lastIndex = from;
      const found = telling.exec(text);
      if (!found) return undefined;
      start = from + endOfEvents(text.slice(from, found.index));
    }
    eventEnd.lastIndex = start;
    // More line ends than a blank line needs may be left behind the last event.
    return { start, end: eventEnd.test(text) ? eventEnd.lastIndex : text.length };
  }

  function read(text: string): TurnEvent[] {
    const events: TurnEvent[] = [];
    let passed = '';
    let taken = 0;
    for (let next = nextIn(text, 0); next; next = nextIn(text, taken)) {
      passed += text.slice(taken, next.start);
      taken = next.end;
      const event = text.slice(next.start, taken);
      const data = dataOf(event);
      if (data === '[DONE]') {
        if (reason === undefined) return failed(events, passed, noEnd());
        return finished(events, passed + event);
      }
      const chunk = data === '' ? undefined : parseJsonObject(data);
      const error = errorIn(chunk);
      if (error) return failed(events, passed, classifyNamed(error));
      const usage = readUsage(chunk?.['usage']);
      if (usage) events.push({ type: 'usage', usage });
      const choices = choicesOf(chunk);
      if (choices.some(holdsContent)) hasContent = true;
      for (const choice of choices) {
        const finish = finishOf(choice);
        if (finish instanceof AppError) return failed(events, passed, finish);
        if (finish === undefined) continue;
        reason = finish;
        ended.add(choice['index']);
      }
      const isUsageAlone = usage !== undefined && choices.length === 0;
      if (!(hidesUsage && isUsageAlone)) passed += event;
    }
    passed += text.slice(taken);
    if (!hasContent) {
      held += passed;
      return events;
    }
    if (held + passed !== '') events.unshift(relayed(held + passed));
    held = '';
    return events;
  }

  function finished(events: TurnEvent[], passed: string): TurnEvent[] {
    isOver = true;
    return [relayed(held + passed), ...events, { type: 'finish', reason: reason ?? 'stop' }];
  }

  function failed(events: TurnEvent[], passed: string, error: AppError): TurnEvent[] {
    isOver = true;
    const before = hasContent && held + passed !== '' ? [relayed(held + passed)] : [];
    return [...before, ...events, { type: 'error', error }];
  }

  return {
    push(bytes) {
      if (isOver) return [];
      answerBytes += bytes.length;
      const text = decoder.decode(bytes, { stream: true });
      open.push(text);
      openLength += text.length;
      if (answerBytes > maxAnswerBytes || openLength > maxEventBytes) return failed([], '', tooLong());
      if (!mayEnd(open)) return [];
      const whole = open.join('');
      const end = endOfEvents(whole);
      const rest = whole.slice(end);
      open = rest === '' ? [] : [rest];
      openLength = rest.length;
      return read(whole.slice(0, end));
    },
    end() {
      if (isOver) return [];
      // The last event may lack its blank line, but not its end.
      const last = open.join('');
      const data = dataOf(last);
      const isWhole = data === '[DONE]' || parseJsonObject(data) !== undefined;
      const events = isWhole ? read(`${last}\n\n`) : [];
      if (isOver) return events;
      // Complete by its own word, although the end mark is missing.
      if (ended.size >= asked) return [...events, ...finished([], '')];
      return [...events, ...failed([], '', noEnd())];
    },
    memory: () => undefined,
  };
}

/** Passes an answer that is not streamed on as it came. */
export function createWholeRelay(): TurnDecoder {
  const parts: Uint8Array[] = [];
  let answerBytes = 0;
  let isOver = false;

  const failed = (error: AppError): TurnEvent[] => {
    isOver = true;
    return [{ type: 'error', error }];
  };

  return {
    push(bytes) {
      if (isOver) return [];
      answerBytes += bytes.length;
      if (answerBytes > maxAnswerBytes) return failed(tooLong());
      parts.push(bytes);
      return [];
    },
    end() {
      if (isOver) return [];
      const text = Buffer.concat(parts).toString('utf8');
      const answer = parseJsonObject(text);
      if (!answer) return failed(unreadable());
      const error = errorIn(answer);
      if (error) return failed(classifyNamed(error));
      if (!Array.isArray(answer['choices'])) return failed(unreadable());
      const choices = choicesOf(answer);
      const usage = readUsage(answer['usage']);
      const finishes = choices.map((choice) => {
        const own = errorIn(choice);
        return own ? classifyNamed(own) : finishOf(choice);
      });
      const broken = finishes.find((finish) => finish instanceof AppError);
      if (broken) return failed(broken);
      isOver = true;
      const [reason = 'stop'] = finishes.filter((finish) => typeof finish === 'string');
      return [
        relayed(text),
        ...(usage ? [{ type: 'usage' as const, usage }] : []),
        { type: 'finish', reason },
      ];
    },
    memory: () => undefined,
  };
}

function relayed(text: string): TurnEvent {
  return { type: 'relayed', text };
}

/** Whether an event ends with the last piece: looked for there and just before it, since an event may have very many pieces. */
function mayEnd(pieces: readonly string[]): boolean {
  let text = '';
  for (let at = pieces.length - 1, last = pieces[at] ?? ''; at >= 0 && text.length < last.length + 3; at -= 1)
    text = (pieces[at] ?? '') + text;
  eventEnd.lastIndex = 0;
  return eventEnd.test(text);
}

/** Behind the last blank line; 0 where there is none. */
function endOfEvents(text: string): number {
  let end = 0;
  for (const mark of ['\n\n', '\r\n\r\n', '\r\r']) {
    const last = text.slice(end).lastIndexOf(mark);
    if (last !== -1) end += last + mark.length;
  }
  return end;
}

/** What its `data` lines say. */
function dataOf(event: string): string {
  return event
    .split(/\r\n|\n|\r/)
    .flatMap((line) => (line.startsWith('data:') ? [line.slice('data:'.length).trimStart()] : []))
    .join('\n')
    .trim();
}

function choicesOf(chunk: JsonObject | undefined): JsonObject[] {
  const choices = chunk?.['choices'];
  return Array.isArray(choices) ? choices.filter(isJsonObject) : [];
}

/** Text, reasoning, a call or sound: anything but the role. */
function holdsContent({ delta, text }: JsonObject): boolean {
  if (typeof text === 'string' && text !== '') return true;
  if (!isJsonObject(delta)) return false;
  return Object.entries(delta).some(
    ([name, value]) =>
      name !== 'role' && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0),
  );
}

function unreadable(): AppError {
  return new AppError('upstream_protocol', 'The upstream sent an answer that cannot be read. Try again.');
}
