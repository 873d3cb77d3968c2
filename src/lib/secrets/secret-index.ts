/** Finds parts of known secrets in a text by a rolling hash over windows of it. */

/** Secrets are looked up by windows of this many characters. */
export const windowSize = 8;
/** The shortest part of a secret that counts as the secret, such as what a cut has left of it. */
export const leastPart = 12;
/** Windows of one form: tokens are long, so of those a part that is cut on both sides has to be longer to be found. */
const mostWindows = 40;
/** Secrets with one and the same window, such as a common beginning; each of them has other windows. */
const mostInWindow = 16;
const mostInLastWindow = 64;

/** Where in a secret a window lies. Others with the same hash follow. */
interface Spot {
  readonly secret: string;
  readonly at: number;
  readonly next: Spot | undefined;
}

export interface Part {
  readonly start: number;
  readonly end: number;
}

interface FoundPart extends Part {
  /** False for a shorter part, which counts only next to a mask such as `***`. */
  readonly isEnough: boolean;
}

const filterBits = 1 << 18;

/** A bit for each known hash: nearly every window of a text is dismissed by it. */
export class HashFilter {
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
export class SecretIndex {
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
  add(value: string, form: string, apart: number, filter: HashFilter): void {
    this.#known.add(value);
    if (form.length < windowSize) return;
    this.#characters += form.length;
    const last = form.length - windowSize;
    const step = Math.max(Math.ceil(apart), Math.ceil(last / mostWindows));
    let isKnown = false;
    for (let at = 0; at < last; at += step)
      isKnown = this.#addWindow(form, at, mostInWindow, filter) || isKnown;
    // The end always gets a window, and so every secret has at least one.
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

  mark(filter: HashFilter): void {
    for (const hash of this.#spots.keys()) filter.mark(hash);
  }

  #addWindow(form: string, at: number, most: number, filter: HashFilter): boolean {
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

const base = 0x01000193;
const highest = powerOf(base, windowSize - 1);

function powerOf(number: number, exponent: number): number {
  let power = 1;
  for (let count = 0; count < exponent; count += 1) power = Math.imul(power, number);
  return power;
}

export function hashOf(text: string, at: number): number {
  let hash = 0;
  for (let index = at; index < at + windowSize; index += 1)
    hash = (Math.imul(hash, base) + text.charCodeAt(index)) | 0;
  return hash;
}

export function rolled(hash: number, out: number, into: number): number {
  return (Math.imul(hash - Math.imul(out, highest), base) + into) | 0;
}

function bitOf(hash: number): number {
  return (hash ^ (hash >>> 14)) & (filterBits - 1);
}
