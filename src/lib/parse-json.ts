export type JsonObject = Readonly<Record<string, unknown>>;

/** The value of a JSON text; undefined where it is not valid, or breaks `jsonLimits`. */
export function parseJson(text: string | Uint8Array): unknown {
  try {
    const json = typeof text === 'string' ? text : Buffer.from(text).toString('utf8');
    checkJsonLimits(json);
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** The object of a JSON text; undefined where it holds another value, or is not valid. */
export function parseJsonObject(text: string | Uint8Array): JsonObject | undefined {
  const value = parseJson(text);
  return isJsonObject(value) ? value : undefined;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The limits of a JSON text from outside, checked before it is parsed: long strings are cheap, but ten million empty lists in
 * 30 MB cost seconds and a gigabyte, and deep nesting overflows the stack of code that recurses over it.
 */
export const jsonLimits = {
  /** Lists and objects inside one another. Schemas of tools seldom have more than 20. */
  depth: 512,
  /** Members of objects and items of lists, altogether. A conversation of ten thousand messages has 100,000. */
  values: 200_000,
  /** Members of one object: engines keep them in a slow form, and each is looked up in tables and schemas. */
  members: 10_000,
} as const;

/** A list's count starts so low that it never reaches the limit for members of an object. */
const ofList = -2 * jsonLimits.values;

/** Its message says which limit a text breaks, as the end of a sentence about it. */
export class JsonLimitError extends Error {}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const openList = 0x5b;
const openObject = 0x7b;
const closeList = 0x5d;
const closeObject = 0x7d;

/** Counts the values, members and levels of a JSON text piece by piece, as it arrives. It does not check that the text is valid JSON. */
export class JsonScan {
  #depth = 0;
  #values = 0;
  /** Of each object around the present place, how many members it has beside the first. */
  readonly #members: number[] = [];
  #isInString = false;
  /** The last piece ended with a backslash that escapes the first character of the next. */
  #isEscaped = false;

  /** Throws JsonLimitError. In UTF-8 no byte of another character looks like one that counts here. */
  addBytes(bytes: Buffer): void {
    this.addText(bytes.toString('latin1'));
  }

  /** Throws JsonLimitError. */
  addText(text: string): void {
    const end = text.length;
    let depth = this.#depth;
    let values = this.#values;
    let isInString = this.#isInString;
    const members = this.#members;
    let isTooWide = false;
    let index = this.#isEscaped && end > 0 ? 1 : 0;
    while (index < end) {
      if (isInString) {
        const found = text.indexOf('"', index);
        const next = found === -1 ? end : found;
        let before = next - 1;
        while (before >= index && text.charCodeAt(before) === backslash) before -= 1;
        const isEscaped = ((next - 1 - before) & 1) === 1;
        isInString = isEscaped || found === -1;
        index = found === -1 && !isEscaped ? end : next + 1;
        continue;
      }
      const code = text.charCodeAt(index);
      index += 1;
      if (code === quote) isInString = true;
      else if (code === comma) {
        values += 1;
        if (values > jsonLimits.values) break;
        if (depth > 0) {
          const count = (members[depth - 1] ?? 0) + 1;
          members[depth - 1] = count;
          isTooWide = count >= jsonLimits.members;
          if (isTooWide) break;
        }
      } else if (code === openList || code === openObject) {
        depth += 1;
        values += 1;
        if (depth > jsonLimits.depth || values > jsonLimits.values) break;
        if (depth > 0) members[depth - 1] = code === openList ? ofList : 0;
      } else if (code === closeList || code === closeObject) depth -= 1;
    }
    this.#depth = depth;
    this.#values = values;
    this.#isInString = isInString;
    if (end > 0) this.#isEscaped = index > end;
    if (depth > jsonLimits.depth) {
      throw new JsonLimitError(`has more than ${jsonLimits.depth} lists and objects inside one another`);
    }
    if (isTooWide) {
      throw new JsonLimitError(`has an object of more than ${jsonLimits.members} members`);
    }
    if (values > jsonLimits.values) {
      throw new JsonLimitError(`has more than ${jsonLimits.values} values`);
    }
  }
}

/** Throws JsonLimitError for a text that must not be parsed. A text as short as most events of a stream cannot break a limit. */
export function checkJsonLimits(text: string): void {
  if (text.length > jsonLimits.depth) new JsonScan().addText(text);
}

/** The entry of a table for a word from outside, which may be a name that every object inherits, such as `constructor`. */
export function ownValue<Value>(table: Readonly<Record<string, Value>>, word: string): Value | undefined {
  return Object.hasOwn(table, word) ? table[word] : undefined;
}

/** A figure from outside, brought into its bounds; 0 where it is no amount. */
export function amount(value: number, most = Number.MAX_VALUE): number {
  return Number.isFinite(value) && value > 0 ? Math.min(value, most) : 0;
}

/**
 * A JSON text to be sent, without halves of characters, as clients leave them that cut texts: servers refuse the whole text for one,
 * as long as the history contains it. Each becomes U+FFFD.
 */
export function jsonBytes(json: string): Buffer {
  return Buffer.from(withWholeCharacters(json));
}

function withWholeCharacters(json: string): string {
  if (!json.includes('\\ud') && !json.includes('\\uD')) return json;
  let text = '';
  let taken = 0;
  for (let at = json.indexOf('\\'); at !== -1; ) {
    const half = halfAt(json, at);
    let next = at + (half === undefined ? 2 : 6);
    if (half === 'high' && halfAt(json, next) === 'low') next += 6;
    else if (half !== undefined) {
      text += `${json.slice(taken, at)}\\ufffd`;
      taken = next;
    }
    at = json.indexOf('\\', next);
  }
  return text + json.slice(taken);
}

/** Which half of a character an escape is; undefined for any other escape. */
function halfAt(json: string, at: number): 'high' | 'low' | undefined {
  const isHalf = json[at] === '\\' && json[at + 1] === 'u' && (json[at + 2] === 'd' || json[at + 2] === 'D');
  const digit = isHalf ? Number.parseInt(json[at + 3] ?? '', 16) : 0;
  return digit < 8 ? undefined : digit < 12 ? 'high' : 'low';
}
