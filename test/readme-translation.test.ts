import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

/** README.zh-CN.md says what README.md says: the same commands, code, tables, names and links, in the same order. */

const root = resolve(import.meta.dirname, '..');
const english = readFileSync(join(root, 'README.md'), 'utf8');
const chinese = readFileSync(join(root, 'README.zh-CN.md'), 'utf8');

/** Fenced code without its comments, which are translated, and without the drawing, whose labels are. */
function codeIn(text: string): string[] {
  const blocks = [...text.matchAll(/^```(\w+)\n(.*?)^```/gms)].filter(
    ([, language]) => language !== 'mermaid',
  );
  return blocks.map(([, language, code]) => `${language}\n${code}`.replaceAll(/ *(?:\/\/|#) .*/g, ''));
}

/** Text without its fenced code, by section. */
const sectionsOf = (text: string): string[] => text.replaceAll(/^```.*?^```/gms, '').split(/^## /m);

/** The words in code style of each section; a translated sentence may order them in its own way. */
const namesIn = (text: string): string[][] =>
  sectionsOf(text).map((section) => [...section.matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? '').sort());

/** Targets of links outside this page, by section; a picture may be of the Chinese page. */
const linksIn = (text: string): string[][] =>
  sectionsOf(text).map((section) =>
    [...section.matchAll(/\]\(([^)#]+(?:#[^)]*)?)\)/g)]
      .map(([, target]) => (target ?? '').replace(/-zh\.png$/, '.png'))
      .filter((target) => !/^README\b/.test(target))
      .sort(),
  );

/** How many lines each table has, and how many items each list. */
const shapeOf = (text: string): string[] =>
  sectionsOf(text).map((section) => section.match(/^(?:\||- )/gm)?.join('') ?? '');

test.each([
  ['code', codeIn],
  ['names', namesIn],
  ['links', linksIn],
  ['tables and lists', shapeOf],
])('the Chinese README has the same %s', (_, partsOf) => {
  const expected = partsOf(english);
  expect(expected.length).toBeGreaterThan(3);
  expect(partsOf(chinese)).toEqual(expected);
});

test('each README leads to the other, and links within it have a heading', () => {
  expect(english).toContain('(README.zh-CN.md)');
  expect(chinese).toContain('(README.md)');
  for (const text of [english, chinese]) {
    const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
      title?.toLowerCase().replaceAll(' ', '-'),
    );
    for (const [, anchor] of text.matchAll(/\]\(#([^)]+)\)/g)) expect(anchors).toContain(anchor);
  }
});
