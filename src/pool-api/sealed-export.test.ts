import { expect, it } from 'vitest';
import { openExport, sealExport } from './import-format.ts';

const passphrase = 'correct horse battery';

async function* parts(...texts: string[]): AsyncGenerator<string> {
  yield* texts;
}

async function collect(text: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const piece of text) all.push(piece);
  return all;
}

const sealed = async (...texts: string[]) =>
  (await collect(sealExport(parts(...texts), passphrase))).join('');
/** Nearly all of a test's time goes into the key. This export was sealed with one that takes an eighth of what ours take. */
const sealedThree = `{"warp2api_export":1,"kdf":"scrypt","n":16384,"r":8,"p":1,"salt":"TnM33MSr-dJqU6iENfUphA","cipher":"aes-256-gcm"}
n4T8_75THGMHRrWf_4HxAtPEOp_bzIOyIYgCFV1IaQ
4g-6L8DYQ0f10wMSUTZ2LmYDKlAU7hU2g8V7Wn-5rg
dDQPkS30WI7BsYhyukTZk_e9e7XgeYbhh20yf5tk4cie
`;
const opened = (text: string, given = passphrase) => collect(openExport(text, given));

it('what was sealed is opened with the same passphrase, part by part', async () => {
  const two = await sealed('one\n', 'zwei\n');
  expect(two).toContain('"n":131072,');
  expect(await opened(two)).toEqual(['one\n', 'zwei\n']);
  expect(await opened(await sealed())).toEqual(['']);
});

it('a line ending of another system does no harm', async () => {
  expect(await opened(sealedThree.replaceAll('\n', '\r\n'))).toEqual(['one', 'two', 'three']);
});

it('another passphrase opens nothing', async () => {
  await expect(opened(sealedThree, 'correct horse batterz')).rejects.toThrow('does not fit');
});

it.each<[string, (lines: string[]) => string[]]>([
  ['a part left out', ([head, , ...rest]) => [head ?? '', ...rest]],
  ['the end cut off', (lines) => lines.slice(0, -1)],
  ['all parts cut off', ([head]) => [head ?? '']],
  ['parts exchanged', ([head, one, two, ...rest]) => [head ?? '', two ?? '', one ?? '', ...rest]],
  ['a part twice', ([head, one, ...rest]) => [head ?? '', one ?? '', one ?? '', ...rest]],
  ['a part altered', ([head, one, ...rest]) => [head ?? '', `A${one?.slice(1)}`, ...rest]],
  ['another cost of the key', ([head, ...rest]) => [head?.replace('16384', '32768') ?? '', ...rest]],
  [
    'an unknown version',
    ([head, ...rest]) => [head?.replace('"warp2api_export":1', '"warp2api_export":2') ?? '', ...rest],
  ],
  ['a key that takes all memory', ([head, ...rest]) => [head?.replace('16384', '1073741824') ?? '', ...rest]],
])('%s is noticed', async (_name, change) => {
  const lines = change(sealedThree.trimEnd().split('\n'));
  await expect(opened(`${lines.join('\n')}\n`)).rejects.toMatchObject({ code: 'invalid_request' });
});
