/** What stands in the place of a secret. */
const mark = '[secret]';

/** Secrets are looked up by windows of so many characters. A shorter one is looked for as a whole word. */
const windowSize = 8;
/** Below this everything would be full of marks, and a guess finds it anyway. */
const shortestWord = 6;
/** A part of a secret that counts as the secret: what a cut or a line break has left of it. */
const leastPart = 12;
/** How far apart a secret's windows begin. Of a part of `leastPart` characters one window is surely known. */
const stride = leastPart - windowSize + 1;
/** Of the secrets of accounts there are thousands, and tokens are long: what is cut on both sides may be longer. */
const mostWindows = 40;
/** Secrets that begin alike share a window; each of them has others, and of the rest enough are known. */
const mostInWindow = 16;
const mostInLastWindow = 64;
/** What is kept of the secrets of accounts: so many that were used last, at least, and twice as many at most. */
const accountsKept = 2_000;
/** The same for all their forms, which are long where tokens are. */
const charactersKept = 16_000_000;
/** Of each of the forms that an account's secret may have in base64 and hexadecimal. */
const mostEncodedWindows = 10;
/** Passwords that are everybody's first guess, and words that messages need. */
const ordinaryWords = new Set(['password', 'postgres', 'postgresql', 'database']);

/** Variables that every program sees, and no secrets. */
export const openVariables: readonly string[] = ['PATH', 'HOME', 'LANG'];

/** Where in a secret a window lies. Others with the same hash follow. */
interface Spot {
  readonly secret: string;
  readonly at: number;
  readonly next: Spot | undefined;
}

interface Part {
  readonly start: number;
  readonly end: number;
}

interface FoundPart extends Part {
  /** Else it counts only where the rest is masked. */
  readonly isEnough: boolean;
}

/**
 * The secrets that the configuration and the pool know, to be removed by their value from whatever came from outside and
 * is shown: logs, answers, the states of accounts and sources, the terminal. Texts are compared as `bare` makes them, so that
 * it does not matter how a secret was escaped or broken; base64 and hexadecimal are found as well, and so are parts of at
 * least twelve characters.
 */
export class KnownSecrets {
  readonly #configured = new Index();
  #used = new Index();
  /** Those that were used before these: the two bound how many are kept. */
  #usedBefore = new Index();
  #filter = new Filter();
  readonly #words = new Set<string>();
  #wordPattern: RegExp | undefined;

  /** A secret of the configuration, kept for ever. One that is too short to be told from other text is passed over. */
  add(value: string | undefined): void {
    if (value === undefined || value.length < shortestWord || this.#configured.has(value)) return;
    if (ordinaryWords.has(value.toLowerCase())) return;
    for (const line of [value, ...value.split(/\s*[\r\n]+\s*/)]) {
      for (const form of [...writtenForms(line), ...encodedForms(line)])
        this.#configured.add(line, form, stride, this.#filter);
    }
    // A short word of letters is a word of messages as well, and one of ours.
    if (bare(value).text.length < windowSize && /[^A-Za-z]/.test(value)) {
      this.#words.add(value);
      const words = [...this.#words].map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
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
    // A password that is the name of the user or the database is no secret, and a word that messages need.
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

  /** An account's API key, refresh token or bearer, when it is used. Cheap for one that was used lately. */
  use(value: string): void {
    if (value.length < windowSize || this.#used.has(value)) return;
    if (this.#used.size >= accountsKept || this.#used.characters >= charactersKept) {
      this.#usedBefore = this.#used;
      this.#used = new Index();
      this.#filter = new Filter();
      for (const index of [this.#configured, this.#usedBefore]) index.mark(this.#filter);
    }
    for (const form of writtenForms(value)) this.#used.add(value, form, windowSize, this.#filter);
    for (const form of encodedForms(value)) {
      this.#used.add(value, form, Math.max(2 * windowSize, form.length / mostEncodedWindows), this.#filter);
    }
  }

  /** Whether `text` holds a secret. Costs a few nanoseconds a character. */
  isIn(text: string): boolean {
    if (this.#partsIn(bare(text), text, true).length > 0) return true;
    if (this.#wordPattern === undefined) return false;
    this.#wordPattern.lastIndex = 0;
    return this.#wordPattern.test(text);
  }

  /** `text` without the secrets. Do this before a text is cut. */
  redact(text: string): string {
    let clean = '';
    let shownTo = 0;
    for (const { start, end } of merged(this.#partsIn(bare(text), text, false))) {
      clean += text.slice(shownTo, start) + mark;
      shownTo = end;
    }
    clean += text.slice(shownTo);
    return this.#wordPattern === undefined ? clean : clean.replace(this.#wordPattern, mark);
  }

  /** The same for every text in a value as JSON knows them. */
  redactAll<Value>(value: Value): Value {
    return redactedDeep(value, (text) => this.redact(text)) as Value;
  }

  /** Takes the secrets out of what an error says. The error stays what it is; its causes are for the log, which cleans them. */
  clean<Failure extends Error>(error: Failure): Failure {
    const message = this.redact(error.message);
    if (message !== error.message) error.message = message;
    return error;
  }

  /** Secrets that begin alike are found by each other's beginnings, so parts may overlap. */
  #partsIn({ text, starts, ends }: Bare, shown: string, isOneEnough: boolean): Part[] {
    const parts: Part[] = [];
    if (text.length < windowSize) return parts;
    const filter = this.#filter;
    let hash = hashOf(text, 0);
    let end = 0;
    for (let at = 0; ; at += 1) {
      if (filter.mayHave(hash)) {
        // What is covered already need not be gone over again, but for what makes a part long enough.
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
        // What goes on beyond the part has a window there, or one over its end.
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

/** A text as it is compared, and from where to where each of its characters is written. */
interface Bare {
  readonly text: string;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

/** One character of JSON, a program's text, a URL or a page, however often it was escaped. */
const escaped =
  /\\+(?:u\{?([0-9a-f]{2,6})\}?|x([0-9a-f]{2})|[bfnrt])?|%(?:25)*([0-9a-f]{2})|&(?:amp;)*(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|lt|gt|quot|apos));/iy;
const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/**
 * A text without what differs where the same is written elsewhere: escapes are read; white space, backslashes and whatever
 * is not ASCII are left out; letters are small, and the two alphabets of base64 are one.
 */
function bare(text: string): Bare {
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

/** Lines of a log are many and short: they share these, for what `bare` answers is used before it is called again. */
const commonLength = 32_768;
const tables = createTables(commonLength);

function createTables(length: number) {
  return {
    codes: Buffer.allocUnsafe(length),
    starts: new Int32Array(length),
    ends: new Int32Array(length),
  };
}

/** Of a match of `escaped`; 0 is nothing that is compared. */
function codeOf([, unicode, byte, percent, decimal, hex, entity]: RegExpExecArray): number {
  if (entity !== undefined) return entities[entity.toLowerCase()]?.charCodeAt(0) ?? 0;
  if (decimal !== undefined) return Number(decimal);
  return Number.parseInt(unicode ?? byte ?? percent ?? hex ?? '0', 16);
}

const comparedAs = Uint8Array.from({ length: 0x7f }, (_none, code) =>
  String.fromCharCode(code).toLowerCase().replace('-', '+').replace('_', '/').charCodeAt(0),
);

/** In order, and none touching another. */
function merged(parts: readonly Part[]): readonly Part[] {
  const all: { start: number; end: number }[] = [];
  for (const { start, end } of parts.toSorted((left, right) => left.start - right.start)) {
    const last = all.at(-1);
    if (last && start <= last.end) last.end = Math.max(last.end, end);
    else all.push({ start, end });
  }
  return all;
}

/** Names of what is worth hiding, however short it is. */
const secretName = /key|token|secret|passw|pwd|pass$|pin$|credential|auth|cookie|session/i;
/** Variables that set how programs run, whose values are words such as `production`. */
const harmlessName =
  /^(LC_\w+|TZ|TERM|NODE_ENV|NODE_OPTIONS|PYTHON\w+|TMPDIR|USER|LOGNAME|SHELL|PWD|DEBUG|\w*LOG_LEVEL|ENVIRONMENT)$/;
/** What names a place, a thing or a person: messages need it, and it is no secret. */
const plainName =
  /(?:^|[_-])(?:account|application|app|domain|email|mail|endpoint|env|format|host|hostname|lang|language|level|locale|mode|model|name|namespace|org|organization|project|provider|region|stage|team|type|username|version|zone)(?:[_-]?(?:id|name))?$/i;
const longSegment = 16;
const filterBits = 1 << 18;

/** A bit for each hash there is: nearly every window of a text is dismissed by it. */
class Filter {
  readonly #bits = new Uint32Array(filterBits / 32);

  mark(hash: number): void {
    const bit = bitOf(hash);
    this.#bits[bit >>> 5] = (this.#bits[bit >>> 5] as number) | (1 << (bit & 31));
  }

  mayHave(hash: number): boolean {
    const bit = bitOf(hash);
    return ((this.#bits[bit >>> 5] as number) & (1 << (bit & 31))) !== 0;
  }
}

/** Secrets by the hashes of their windows. */
class Index {
  readonly #known = new Set<string>();
  readonly #spots = new Map<number, Spot>();
  #characters = 0;

  get characters(): number {
    return this.#characters;
  }

  get size(): number {
    return this.#known.size;
  }

  has(value: string): boolean {
    return this.#known.has(value);
  }

  /** `form` is how the secret may be written. */
  add(value: string, form: string, apart: number, filter: Filter): void {
    this.#known.add(value);
    if (form.length < windowSize) return;
    this.#characters += form.length;
    const last = form.length - windowSize;
    const step = Math.max(Math.ceil(apart), Math.ceil(last / mostWindows));
    let isKnown = false;
    for (let at = 0; at < last; at += step)
      isKnown = this.#addWindow(form, at, mostInWindow, filter) || isKnown;
    // The end is always known, and every secret by one window at least.
    this.#addWindow(form, last, isKnown ? mostInWindow : mostInLastWindow, filter);
  }

  /** The part of a secret around the window of that hash, as far as it goes in the text from `from` on. */
  partAt(text: string, hash: number, at: number, from: number): FoundPart | undefined {
    let longest: FoundPart | undefined;
    for (let spot = this.#spots.get(hash); spot !== undefined; spot = spot.next) {
      const part = partAround(text, at, from, spot);
      if (part && (!longest || part.end - part.start > longest.end - longest.start)) longest = part;
    }
    return longest;
  }

  mark(filter: Filter): void {
    for (const hash of this.#spots.keys()) filter.mark(hash);
  }

  #addWindow(form: string, at: number, most: number, filter: Filter): boolean {
    const hash = hashOf(form, at);
    const next = this.#spots.get(hash);
    let count = 0;
    for (let spot = next; spot !== undefined; spot = spot.next) {
      if (spot.at === at && spot.secret === form) return true;
      count += 1;
    }
    if (count >= most) return false;
    this.#spots.set(hash, { secret: form, at, next });
    filter.mark(hash);
    return true;
  }
}

function partAround(
  text: string,
  at: number,
  from: number,
  { secret, at: place }: Spot,
): FoundPart | undefined {
  let start = at;
  let first = place;
  while (start > from && first > 0 && text.charCodeAt(start - 1) === secret.charCodeAt(first - 1)) {
    start -= 1;
    first -= 1;
  }
  let end = at;
  let next = place;
  while (end < text.length && next < secret.length && text.charCodeAt(end) === secret.charCodeAt(next)) {
    end += 1;
    next += 1;
  }
  const length = end - start;
  if (length < windowSize) return undefined;
  return { start, end, isEnough: length >= leastPart || length === secret.length };
}

/** Vendors show the ends of a key around stars or dots. */
function isMasked(text: string, { start, end }: Part): boolean {
  return isMask(text.slice(end, end + 3)) || isMask(text.slice(Math.max(0, start - 3), start));
}

function isMask(text: string): boolean {
  return text === '...' || /[*•…]/.test(text);
}

const base = 0x01000193;
const highest = powerOf(base, windowSize - 1);

function powerOf(number: number, exponent: number): number {
  let power = 1;
  for (let count = 0; count < exponent; count += 1) power = Math.imul(power, number);
  return power;
}

function hashOf(text: string, at: number): number {
  let hash = 0;
  for (let index = at; index < at + windowSize; index += 1)
    hash = (Math.imul(hash, base) + text.charCodeAt(index)) | 0;
  return hash;
}

function rolled(hash: number, out: number, into: number): number {
  return (Math.imul(hash - Math.imul(out, highest), base) + into) | 0;
}

function bitOf(hash: number): number {
  return (hash ^ (hash >>> 14)) & (filterBits - 1);
}

/** As it is compared, and so where a form has spaces written as `+`. */
function writtenForms(value: string): Set<string> {
  return new Set([value, value.replaceAll(' ', '+')].map((form) => bare(form).text));
}

function encodedForms(value: string): readonly string[] {
  const bytes = Buffer.from(value);
  return [...base64InLonger(bytes), bytes.toString('hex')].map((form) => bare(form).text);
}

/** The base64 of the secret, of `user:secret` and the like: what does not depend on the bytes before and after. */
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
