import { describe, expect, it } from 'vitest';
import { beginningOf, plainJson, plainLine, plainText } from './shown-text.ts';

/** One of every kind that a terminal obeys, that turns text around, or that is invisible. */
const unseen = [
  ...'\u0000\u0007\u0008\u001b\u007f\u0080\u0085\u009b\u009f\u00ad\u061c\u200b\u200e\u200f\u2028\u2029',
  ...'\u202a\u202e\u2060\u2064\u2066\u2069\ufeff\ufff9\u3164\u{e0041}\u{e0100}\u{1d173}',
  '\ud800',
  '\udfff',
];

describe.each(unseen)('U+%#', (character) => {
  it('is escaped in JSON, which stays the same value', () => {
    const json = JSON.stringify({ [`a${character}`]: `b${character}c` });
    const plain = plainJson(json);
    expect(plain).toMatch(/^[ -~]*$/);
    expect(JSON.parse(plain)).toEqual(JSON.parse(json));
  });

  it('is shown as an escape on a terminal', () => {
    expect(plainText(`a${character}b`)).toMatch(/^a\\u\{[0-9a-f]+\}b$/);
    expect(plainLine(`a${character}b`)).toMatch(/^a(\\u\{[0-9a-f]+\}| )b$/);
  });
});

it('leaves text alone that everybody can see', () => {
  const text = 'Zürich, 東京, עברית, हिन्दी, naïve – “x”\nfamily 👨‍👩‍👧‍👦 ❤️ 👍🏽 1️⃣ 🏳️‍🌈\n';
  expect(plainText(text)).toBe(text);
  expect(JSON.parse(plainJson(JSON.stringify(text)))).toBe(text);
});

it('keeps a value on its line', () => {
  expect(plainLine('one\r\ntwo\tthree\u2028four')).toBe('one two three four');
});

it('shows a joiner that joins no emoji', () => {
  expect(plainText('a\u200db, a\u200cb, \ufe0fa')).toBe('a\\u{200d}b, a\\u{200c}b, \\u{fe0f}a');
});

it('cuts between words', () => {
  expect(beginningOf('key: abcdefghijkl', 17)).toBe('key: abcdefghijkl');
  expect(beginningOf('key: abcdefghijkl and more', 10)).toBe('key: …');
  expect(beginningOf('{"key":"abcdefghijkl"}', 10)).toBe('{"key":"…');
});
