import { expect, it } from 'vitest';
import { csvLine } from './csv.ts';

it('quotes what needs it and leaves numbers as they are', () => {
  expect(csvLine(['a,b', 'say "a"', 'two\nlines', -1.5, true, null])).toBe(
    '"a,b","say ""a""","two\nlines",-1.5,true,\r\n',
  );
});

// The wide ones are what a Chinese or Japanese keyboard writes; spreadsheets of those languages take them, too.
it.each(['=1+1', '+1', '-1', '@a', ' =1', '\t=1', '＝1+1', '＋1', '－1', '＠a'])(
  'makes no formula of %j',
  (text) => {
    expect(csvLine([text])).toBe(`"'${text}"\r\n`);
  },
);
