import fc from 'fast-check';
import { expect, it } from 'vitest';
import { JsonLimitError, JsonScan, jsonBytes, jsonLimits } from './parse-json.ts';

/** How a text ends that comes in pieces of that size; undefined where it may be parsed. */
function faultOf(text: string, pieceBytes = text.length): string | undefined {
  const scan = new JsonScan();
  const bytes = Buffer.from(text);
  try {
    for (let start = 0; start < bytes.length; start += pieceBytes) {
      scan.addBytes(bytes.subarray(start, start + pieceBytes));
    }
    return undefined;
  } catch (error) {
    if (error instanceof JsonLimitError) return error.message;
    throw error;
  }
}

const deep = (levels: number) => `${'[{"a":'.repeat(levels / 2)}1${'}]'.repeat(levels / 2)}`;
const long = (items: number) =>
  `{"list":[${Array(items - 1)
    .fill('1')
    .join()}]}`;

it('takes what stays within the limits and refuses one more', () => {
  expect(faultOf(deep(jsonLimits.depth))).toBeUndefined();
  expect(faultOf(deep(jsonLimits.depth + 2))).toContain(`${jsonLimits.depth} lists and objects`);
  expect(faultOf(long(jsonLimits.values))).toBeUndefined();
  expect(faultOf(long(jsonLimits.values + 1))).toContain(`${jsonLimits.values} values`);
});

it('counts the members of each object separately, and the items of lists only together', () => {
  const wide = (members: number): string =>
    `{${Array.from({ length: members }, (_, index) => `"f${index}":[1,2,{"a":1,"b":2}]`).join()}}`;
  for (const pieceBytes of [7, 1_000, 1_000_000]) {
    expect(faultOf(`[${wide(jsonLimits.members)},${wide(9)}]`, pieceBytes)).toBeUndefined();
    expect(faultOf(`[1,${wide(jsonLimits.members + 1)}]`, pieceBytes)).toContain(
      `${jsonLimits.members} members`,
    );
  }
  expect(faultOf(`]]}}${wide(9)}`)).toBeUndefined();
});

it('refuses what is hopeless before it is here whole', () => {
  expect(faultOf('['.repeat(jsonLimits.depth + 1))).toContain('inside one another');
  expect(faultOf(`[${'{},'.repeat(jsonLimits.values)}`)).toContain('values');
});

it.each(['text', '\\"', '\\\\', '\\\\\\"[', 'é[中{,', '[[[{{{,,,'])(
  'counts nothing inside a string of %s, wherever the pieces end',
  (inner) => {
    const text = `{"a":"${inner.repeat(jsonLimits.depth + 1)}","b":[1]}`;
    for (const pieceBytes of [1, 2, 3, 7, 64, text.length]) expect(faultOf(text, pieceBytes)).toBeUndefined();
    const tooDeep = `["${inner}",${deep(jsonLimits.depth)}]`;
    for (const pieceBytes of [1, 2, 3, 7, 64, tooDeep.length])
      expect(faultOf(tooDeep, pieceBytes)).toBeDefined();
  },
);

it('counts as a parser does', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), fc.integer({ min: 1, max: 9 }), (text, pieceBytes) => {
      const levels = depthOf(JSON.parse(text));
      const room = jsonLimits.depth - levels;
      expect(faultOf('['.repeat(room) + text, pieceBytes)).toBeUndefined();
      expect(faultOf('['.repeat(room + 1) + text, pieceBytes)).toBeDefined();
    }),
  );
});

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

it.each([
  ['"\\ud83d"', '"\\ufffd"'],
  ['"a\\uDE00b"', '"a\\ufffdb"'],
  ['"\\ud83d\\uDE00"', '"\\ud83d\\uDE00"'],
  ['"\\ud83d\\ud83d\\ude00\\ude00"', '"\\ufffd\\ud83d\\ude00\\ufffd"'],
  ['"\\ud83d\\n\\ude00"', '"\\ufffd\\n\\ufffd"'],
  ['"\\\\ud83d \\\\\\ud83d"', '"\\\\ud83d \\\\\\ufffd"'],
  ['"\\ud7ff \\ue000 \\u00e4"', '"\\ud7ff \\ue000 \\u00e4"'],
])('%s has whole characters as %s', (json, expected) => {
  expect(String(jsonBytes(json))).toBe(expected);
  expect(JSON.parse(expected).isWellFormed()).toBe(true);
});

it('leaves whole characters in any JSON, and every other escape', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, other) => {
      const value = [text, other, { [other]: text }];
      const json = JSON.stringify(value).replace(
        /[^ -~]/g,
        (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
      );
      const whole = (one: string) => one.toWellFormed();
      expect(JSON.parse(String(jsonBytes(json)))).toEqual([
        whole(text),
        whole(other),
        { [whole(other)]: whole(text) },
      ]);
    }),
  );
});
