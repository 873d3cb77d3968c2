import { expect, it } from 'vitest';
import { formField, withField } from './form-data.ts';

const form = (text: string, contentType = 'multipart/form-data; boundary=XX') => ({
  bytes: Buffer.from(text, 'latin1'),
  contentType,
});
const part = (name: string, value: string, more = '') =>
  `--XX\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
const file = part(
  'file',
  'model\r\n--X\r\n\xff name="model"',
  '; filename="a; name=b.mp3"\r\nContent-Type: audio/mpeg',
);

it('finds a field behind a file that looks like anything, and changes its bytes alone', () => {
  const given = form(`${file}${part('model', 'local/m')}${part('prompt', 'local/m')}--XX--\r\n`);
  expect(formField(given, 'model')).toBe('local/m');
  const changed = withField(given, 'model', 'whisper-1').toString('latin1');
  expect(changed).toBe(given.bytes.toString('latin1').replace('local/m', 'whisper-1'));
});

it.each([
  ['a quoted boundary', form(`${part('model', 'm')}--XX--`, 'multipart/form-data; boundary="XX"'), 'm'],
  ['an empty value', form(`${part('model', '')}--XX--`), ''],
  [
    'a name without quotes',
    form('--XX\r\ncontent-disposition: form-data; name=model\r\n\r\nm\r\n--XX--'),
    'm',
  ],
  ['no such field', form(`${part('models', 'm')}--XX--`), undefined],
  ['no end', form(part('model', 'm')), undefined],
  ['no boundary', form(part('model', 'm'), 'multipart/form-data'), undefined],
  ['no form', form('{"model":"m"}'), undefined],
])('reads %s', (_case, given, expected) => {
  expect(formField(given, 'model')).toBe(expected);
});
