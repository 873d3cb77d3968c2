import { HashFilter, hashOf, leastPart, type Part, rolled, SecretIndex, windowSize } from './secret-index.ts';

/** Replaces a secret. */
const mark = '[secret]';

/** Shorter values are not removed: every text would be full of marks, and they are guessed easily. */
const shortestWord = 6;
/** How far apart a secret's windows begin: every part of `leastPart` characters holds a whole one. */
const stride = leastPart - windowSize + 1;
/** Secrets of accounts that are kept: at least this many of those used last, and at most twice as many. */
const accountsKept = 2_000;
/** The same limit in characters of all their forms, since tokens may be long. */
const charactersKept = 16_000_000;
/** Windows of each form of an account's secret in base64 and hexadecimal. */
const mostEncodedWindows = 10;
/** Texts that are remembered as clean. */
const mostClean = 1_000;
const longestClean = 64;
/** Passwords that anyone would guess first, and that are words of messages. */
const ordinaryWords = new Set(['password', 'postgres', 'postgresql', 'database']);

/** The secrets of client keys, which are known by their form: there may be thousands, and none is stored. */
const issuedKey = /w2a_[A-Za-z0-9_-]{43}/g;

/** Variables that every program sees and that hold no secrets. */
export const openVariables: readonly string[] = ['PATH', 'HOME', 'LANG'];

/**
 * The secrets that the configuration and the pool know, to be removed by their value from text that came from outside and
 * is shown: logs, answers, the states of accounts and sources, the terminal. Texts are compared in the form that `comparable`
 * gives them, so that it does not matter how a secret was escaped or broken; base64 and hexadecimal are found as well, and so
 * are parts of at least twelve characters.
 */
export class KnownSecrets {
  readonly #configured = new SecretIndex();
  #used = new SecretIndex();
  /** The generation before `#used`, dropped when that is full. */
  #usedBefore = new SecretIndex();
  #filter = new HashFilter();
  readonly #words = new Set<string>();
  #wordPattern: RegExp | undefined;
  /** Short texts that hold none of them, such as the names of models in each line of a log. */
  readonly #clean = new Set<string>();

  /** Adds a secret of the configuration, which is kept for ever. Values too short to be distinguished from other text are ignored. */
  add(value: string | undefined): void {
    if (value === undefined || value.length < shortestWord || this.#configured.has(value)) return;
    if (ordinaryWords.has(value.toLowerCase())) return;
    this.#clean.clear();
    for (const line of [value, ...value.split(/\s*[\r\n]+\s*/)]) {
      for (const form of [...writtenForms(line), ...encodedForms(line)])
        this.#configured.add(line, form, stride, this.#filter);
    }
    // A short one is removed as a whole word, unless it is all letters: then it may be a word of our messages.
    if (comparable(value).text.length < windowSize && /[^A-Za-z]/.test(value)) {
      this.#words.add(value);
      const words = [...this.#words].map(RegExp.escape);
      this.#wordPattern = new RegExp(`(?<![A-Za-z0-9])(?:${words.join('|')})(?![A-Za-z0-9])`, 'g');
    }
  }

  /**
   * What is secret in a URL: the password, at http also a user name without one and the values of the query; with
   * `isPathSecret` long parts of the path, which is where webhooks put their tokens. The user of a database is not.
   */
  addUrl(text: string | undefined, { isPathSecret = false } = {}): void {
    if (text === undefined || !URL.canParse(text)) return;
    const { protocol, username, password, pathname, searchParams, hash } = new URL(text);
    const isHttp = /^https?:$/.test(protocol);
    // A password that equals the user's or the database's name is no secret, and messages need the name.
    if (password !== username && password !== pathname.slice(1)) {
      this.add(decoded(password));
    }
    if (isHttp && username.length >= windowSize) this.add(decoded(username));
    for (const [name, value] of searchParams) if (isHttp || secretName.test(name)) this.addNamed(name, value);
    if (isHttp) this.addNamed('', hash.slice(1));
    if (!isPathSecret) return;
    for (const segment of pathname.split('/')) if (segment.length >= longSegment) this.add(segment);
  }

  /** The value of a variable, a header or an option: what a URL hides, or all of it, unless it is short and its name harmless. */
  addNamed(name: string, value: string): void {
    if (openVariables.includes(name) || harmlessName.test(name)) return;
    if (plainName.test(name) && !secretName.test(name)) return;
    if (/^[a-z][a-z0-9+.-]*:\/\//i.test(value) && URL.canParse(value))
      this.addUrl(value, { isPathSecret: true });
    else if (value.length >= windowSize || secretName.test(name)) {
      this.add(value);
      this.add(/^(?:Bearer|Basic|Token|ApiKey) +(.+)$/is.exec(value)?.[1]);
    }
  }

  /** The arguments of a command: what follows `--token` and the like, or stands behind it. */
  addArguments(words: readonly string[]): void {
    words.forEach((word, index) => {
      const [, name = '', value = ''] = /^-*([\w-]+)\s*[=:]\s*(.+)$/s.exec(word) ?? [];
      if (secretName.test(name)) this.addNamed(name, value);
      else this.addUrl(word, { isPathSecret: true });
      const before = words[index - 1] ?? '';
      if (/^--?\w/.test(before) && !/[=:]/.test(before) && secretName.test(before))
        this.addNamed(before, word);
    });
  }

  /** Adds an account's API key, refresh token or bearer when it is used. Cheap for one that was used lately. */
  use(value: string): void {
    if (value.length < windowSize || this.#used.has(value)) return;
    this.#clean.clear();
    if (this.#used.size >= accountsKept || this.#used.characters >= charactersKept) {
      this.#usedBefore = this.#used;
      this.#used = new SecretIndex();
      this.#filter = new HashFilter();
      for (const index of [this.#configured, this.#usedBefore]) index.mark(this.#filter);
    }
    for (const form of writtenForms(value)) this.#used.add(value, form, windowSize, this.#filter);
    for (const form of encodedForms(value)) {
      this.#used.add(value, form, Math.max(2 * windowSize, form.length / mostEncodedWindows), this.#filter);
    }
  }

  /** Whether `text` holds a secret. Costs a few nanoseconds a character. */
  isIn(text: string): boolean {
    if (this.#clean.has(text)) return false;
    if (this.#partsIn(comparable(text), text, true).length > 0) return true;
    if (text.search(issuedKey) >= 0) return true;
    if (this.#wordPattern !== undefined && text.search(this.#wordPattern) >= 0) return true;
    if (this.#clean.size >= mostClean) this.#clean.clear();
    if (text.length <= longestClean) this.#clean.add(text);
    return false;
  }

  /**
   * `text` without the secrets. Do this before a text is cut. What its reader has `said` to us stays: if it vanished where it
   * begins like a secret, anybody could guess that secret letter by letter.
   */
  redact(text: string, said?: () => string): string {
    let clean = '';
    let shownTo = 0;
    let given: string | undefined;
    let heard: string | undefined;
    const isHeard = (part: string): boolean => {
      if (!said) return false;
      given ??= said();
      if (given.includes(part)) return true;
      if (given.length > longestHeard) return false;
      heard ??= comparable(given).text;
      return heard.includes(comparable(part).text);
    };
    const parts = this.#partsIn(comparable(text), text, false);
    const unheard = parts.filter(({ start, end }) => !isHeard(text.slice(start, end)));
    for (const { start, end } of merged(unheard)) {
      clean += text.slice(shownTo, start) + mark;
      shownTo = end;
    }
    clean += text.slice(shownTo);
    const unlessHeard = (word: string) => (isHeard(word) ? word : mark);
    clean = clean.replace(issuedKey, unlessHeard);
    return this.#wordPattern === undefined ? clean : clean.replace(this.#wordPattern, unlessHeard);
  }

  /** The same for every text in a value as JSON knows them. */
  redactAll<Value>(value: Value): Value {
    return redactedDeep(value, (text) => this.redact(text)) as Value;
  }

  /** Removes the secrets from an error's own message. Its causes only reach the log, which cleans them itself. */
  clean<Failure extends Error>(error: Failure, said?: () => string): Failure {
    const message = this.redact(error.message, said);
    if (message !== error.message) error.message = message;
    return error;
  }

  /** The parts may overlap, since secrets that begin alike are found by each other's beginnings. */
  #partsIn({ text, starts, ends }: ComparableText, shown: string, isOneEnough: boolean): Part[] {
    const parts: Part[] = [];
    if (text.length < windowSize) return parts;
    const filter = this.#filter;
    let hash = hashOf(text, 0);
    let end = 0;
    for (let at = 0; ; at += 1) {
      if (filter.mayHave(hash)) {
        // Covered text is not compared again, except as much as makes a part long enough.
        const from = Math.max(0, end - leastPart);
        for (const index of [this.#configured, this.#used, this.#usedBefore]) {
          const part = index.partAt(text, hash, at, from);
          if (part === undefined) continue;
          const place = { start: starts[part.start] as number, end: ends[part.end - 1] as number };
          if (!part.isEnough && !isMasked(shown, place)) continue;
          parts.push(place);
          end = Math.max(end, part.end);
        }
        if (isOneEnough && parts.length > 0) return parts;
        // A longer match than this part has a window there, or one over the part's end.
        if (end - windowSize > at) {
          at = end - windowSize;
          hash = hashOf(text, at);
        }
      }
      if (at + windowSize >= text.length) return parts;
      hash = rolled(hash, text.charCodeAt(at), text.charCodeAt(at + windowSize));
    }
  }
}

/** In order, with overlapping and adjacent parts joined. */
function merged(parts: readonly Part[]): readonly Part[] {
  const all: { start: number; end: number }[] = [];
  for (const { start, end } of parts.toSorted((left, right) => left.start - right.start)) {
    const last = all.at(-1);
    if (last && start <= last.end) last.end = Math.max(last.end, end);
    else all.push({ start, end });
  }
  return all;
}

/** Names of values that are hidden even if they are short. */
const secretName = /key|token|secret|passw|pwd|pass$|pin$|credential|auth|cookie|session/i;
/** Variables that set how programs run, whose values are words such as `production`. */
const harmlessName =
  /^(LC_\w+|TZ|TERM|NODE_ENV|NODE_OPTIONS|PYTHON\w+|TMPDIR|USER|LOGNAME|SHELL|PWD|DEBUG|\w*LOG_LEVEL|ENVIRONMENT)$/;
/** Names of values that are places, things or persons: messages need them, and they are no secrets. */
const plainName =
  /(?:^|[_-])(?:account|application|app|domain|email|mail|endpoint|env|format|host|hostname|lang|language|level|locale|mode|model|name|namespace|org|organization|project|provider|region|stage|team|type|username|version|zone)(?:[_-]?(?:id|name))?$/i;
const longSegment = 16;
/** A longer request is searched for the text as it is shown, and in no other spelling: that costs a second for 30 MB. */
const longestHeard = 1024 * 1024;
/** Vendors show the ends of a key around stars or dots. */
function isMasked(text: string, { start, end }: Part): boolean {
  return isMask(text.slice(end, end + 3)) || isMask(text.slice(Math.max(0, start - 3), start));
}

function isMask(text: string): boolean {
  return text === '...' || /[*•…]/.test(text);
}

/** The value in comparable form, also with the `+` that forms write for spaces. */
function writtenForms(value: string): Set<string> {
  return new Set([value, value.replaceAll(' ', '+')].map((form) => comparable(form).text));
}

function encodedForms(value: string): readonly string[] {
  const bytes = Buffer.from(value);
  return [...base64InLonger(bytes), bytes.toString('hex')].map((form) => comparable(form).text);
}

/** The base64 of the secret alone or within `user:secret` and the like: the part that does not depend on the bytes around. */
function base64InLonger(bytes: Buffer): readonly string[] {
  return [0, 1, 2].map((before) =>
    Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replace(/=+$/, '')
      .slice(before === 0 ? 0 : before + 1, (before + bytes.length) % 3 === 0 ? undefined : -1),
  );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function redactedDeep(value: unknown, redact: (text: string) => string): unknown {
  if (typeof value === 'string') return redact(value);
  if (Array.isArray(value)) return value.map((item) => redactedDeep(item, redact));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [redact(name), redactedDeep(item, redact)]),
  );
}

/** A text in its plain form, and where each character of that begins and ends in the original. */
interface ComparableText {
  readonly text: string;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

/** An escaped character of JSON, source code, a URL or a page, however often it was escaped. */
const escaped =
  /\\+(?:u\{?([0-9a-f]{2,6})\}?|x([0-9a-f]{2})|[bfnrt])?|%(?:25)*([0-9a-f]{2})|&(?:amp;)*(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|lt|gt|quot|apos));/iy;
const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/**
 * A text in the plain form in which texts are compared, whichever program wrote them: escapes are decoded; white space, backslashes and
 * all that is not ASCII are left out; letters are lower case, and both alphabets of base64 are the same. The places are valid
 * until the next call.
 */
function comparable(text: string): ComparableText {
  const { codes, starts, ends } = text.length > commonLength ? createTables(text.length) : tables;
  let length = 0;
  for (let at = 0; at < text.length; ) {
    let code = text.charCodeAt(at);
    let end = at + 1;
    if (code === 0x5c || code === 0x25 || code === 0x26) {
      escaped.lastIndex = at;
      const found = escaped.exec(text);
      if (found) {
        code = codeOf(found);
        end = escaped.lastIndex;
      }
    }
    if (code > 0x20 && code < 0x7f && code !== 0x5c) {
      codes[length] = comparedAs[code] as number;
      starts[length] = at;
      ends[length] = end;
      length += 1;
    }
    at = end;
  }
  return { text: codes.toString('latin1', 0, length), starts, ends };
}

/** Shared by short texts, such as the many lines of a log: a result is used before the next text is read. */
const commonLength = 32_768;
const tables = createTables(commonLength);

function createTables(length: number) {
  return {
    codes: Buffer.allocUnsafe(length),
    starts: new Int32Array(length),
    ends: new Int32Array(length),
  };
}

/** The character of a match of `escaped`; 0 where it is left out. */
function codeOf([, unicode, byte, percent, decimal, hex, entity]: RegExpExecArray): number {
  if (entity !== undefined) return entities[entity.toLowerCase()]?.charCodeAt(0) ?? 0;
  if (decimal !== undefined) return Number(decimal);
  return Number.parseInt(unicode ?? byte ?? percent ?? hex ?? '0', 16);
}

const comparedAs = Uint8Array.from({ length: 0x7f }, (_none, code) =>
  String.fromCharCode(code).toLowerCase().replace('-', '+').replace('_', '/').charCodeAt(0),
);
