import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';

/** Text files as editors write them: in UTF-8, or in UTF-16 with a byte order mark, as some on Windows do. */

/** The text without its byte order mark. Bytes that are not valid become U+FFFD. */
export function decodeText(bytes: Uint8Array): string {
  return new TextDecoder(charsetOf(bytes)).decode(bytes);
}

/** A text file, whole. Throws when it cannot be read, or is neither UTF-8 nor UTF-16 with a byte order mark. */
export function readTextFile(path: string): string {
  const bytes = readFileSync(path);
  if (charsetOf(bytes) === 'utf-8' && !isUtf8(bytes))
    throw new Error('it is not valid UTF-8: save it as UTF-8');
  return decodeText(bytes);
}

function charsetOf([first, second]: Uint8Array): 'utf-8' | 'utf-16le' | 'utf-16be' {
  if (first === 0xff && second === 0xfe) return 'utf-16le';
  return first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
}
