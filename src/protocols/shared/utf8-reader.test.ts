import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Utf8Reader } from './utf8-reader.ts';

const texts = fc.array(
  fc.oneof(
    fc.string(),
    fc.constantFrom('\ufeff', 'é', '🎈', '\u0000', 'data: {"a":1}\n\n').map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 4 }),
  ),
);
const pieces = fc.array(fc.nat({ max: 6 }));

it('reads as one decoder does that gets all at once, wherever the bytes are cut', () => {
  fc.assert(
    fc.property(texts, pieces, (parts, lengths) => {
      const bytes = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
      const reader = new Utf8Reader();
      let text = '';
      let at = 0;
      for (const length of [...lengths, bytes.length]) {
        text += reader.read(bytes.subarray(at, at + length));
        at += length;
      }
      expect(text).toBe(new TextDecoder().decode(bytes, { stream: true }));
    }),
  );
});
