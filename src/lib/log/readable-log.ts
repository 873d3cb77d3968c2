import { type PrettyOptions, prettyFactory } from 'pino-pretty';
import { isJsonObject, parseJson } from '../parse-json.ts';
import { plainLine, plainText } from '../shown-text.ts';
import type { LineWriter } from './log-file.ts';

export type LogFields = Readonly<Record<string, unknown>>;

/** What a person reads of a line: its sentence, and the fields that the sentence leaves out. */
export interface ReadableLine {
  readonly text: string;
  readonly rest: LogFields;
}

export interface ReadableOptions {
  readonly hasColors: boolean;
  /** With the date beside the time, for what is read on another day. */
  readonly hasDates: boolean;
  /** How lines of that message read; others are the message and its fields. */
  readonly sentences: Readonly<Record<string, Sentence>>;
}

type Sentence = (fields: LogFields) => ReadableLine;

/** Fields that stand at a place of their own. */
const placed = new Set(['level', 'time', 'msg', 'err']);
/** Below it only the message of an error is shown: its stack is for finding faults of the program. */
const severe = new Set(['error', 'fatal']);

/**
 * Turns the JSON lines of a log into lines for people, one by one and at once. What they say stays plain: control characters,
 * which JSON escapes, show as `\u{1b}`.
 */
export function readableLog(
  lines: LineWriter,
  { hasColors, hasDates, sentences }: ReadableOptions,
): LineWriter {
  const messageFormat: PrettyOptions['messageFormat'] = (log, _key, _label, { colors }) =>
    `${log['msg']}${log['details'] ? colors.gray(`  ${log['details']}`) : ''}`;
  const pretty = prettyFactory({
    colorize: hasColors,
    translateTime: hasDates ? 'SYS:yyyy-mm-dd HH:MM:ss' : 'SYS:HH:MM:ss',
    ignore: 'details',
    messageFormat,
  });

  function readable(line: string): string {
    const fields = parseJson(line);
    if (!isJsonObject(fields)) return line;
    const { level, time, err } = fields;
    const msg = String(fields['msg'] ?? '');
    const isSevere = severe.has(String(level));
    const { text, rest } = Object.hasOwn(sentences, msg)
      ? (sentences[msg] as Sentence)(fields)
      : { text: msg, rest: { ...fieldsOf(fields), ...(isSevere ? {} : { error: messageOf(err) }) } };
    const shown = {
      level,
      time,
      msg: plainLine(text),
      details: plainLine(detailsOf(rest)),
      ...(isSevere && isJsonObject(err) ? { err: plainError(err) } : {}),
    };
    return pretty(shown) ?? '';
  }

  return {
    write: (line) => lines.write(readable(line)),
    get isWritable() {
      return lines.isWritable;
    },
  };
}

/** What the error of a line says; undefined where there is none. */
export function messageOf(error: unknown): unknown {
  return isJsonObject(error) ? error['message'] : undefined;
}

function fieldsOf(fields: LogFields): LogFields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !placed.has(name)));
}

/** `name=value`, with quotes around what has spaces. */
function detailsOf(fields: LogFields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => {
      const isWord = typeof value === 'string' && /^[^\s"=]+$/.test(value);
      return `${name}=${isWord ? value : JSON.stringify(value)}`;
    })
    .join(' ');
}

/** Line ends stay: the stack's lines are indented below the line they belong to. */
function plainError(value: unknown): unknown {
  if (typeof value === 'string') return plainText(value);
  if (Array.isArray(value)) return value.map(plainError);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [plainLine(name), plainError(inner)]),
  );
}
