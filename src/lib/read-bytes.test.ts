import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Utf8Reader } from './read-bytes.ts';

const texts = fc.array(
  fc.oneof(
    fc.string(),
    fc.constantFrom('\ufeff', 'é', '🎈', '\u0000', 'data: {"a":1}\n\n').map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 4 }),
  ),
);
const pieces = fc.array(fc.nat({ max: 6 }));

it('reads as a decoder does that gets the same pieces, wherever the bytes are cut', () => {
  fc.assert(
    fc.property(texts, pieces, (parts, lengths) => {
      const bytes = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
      const reader = new Utf8Reader();
      const decoder = new TextDecoder();
      let text = '';
      let expected = '';
      let at = 0;
      for (const length of [...lengths, bytes.length]) {
        const piece = bytes.subarray(at, at + length);
        text += reader.read(piece);
        expected += decoder.decode(piece, { stream: true });
        at += length;
      }
      expect(text).toBe(expected);
    }),
  );
});
