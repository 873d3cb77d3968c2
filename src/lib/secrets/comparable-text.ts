/** A text in its plain form, and where each character of that begins and ends in the original. */
export interface ComparableText {
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
export function comparable(text: string): ComparableText {
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
