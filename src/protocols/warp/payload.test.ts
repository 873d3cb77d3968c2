import { expect, it } from 'vitest';
import { decodePayload } from './decode-stream.ts';

it.each(['', 'QQ==', 'QQ', '"QUI="', '""QUJD""', '-_-_', '+/+/'])('reads %j', (data) => {
  const bare = data.replaceAll('"', '');
  expect(decodePayload(data)).toEqual(Buffer.from(bare, 'base64'));
});

it.each(['Q', 'QUJDR', 'QU*JD', 'QUJD****', 'QU JD', 'QUJD\nQUJD', 'QQ==QUJD', 'QQ===', 'QUJDü', '{"a":1}'])(
  'refuses %j instead of passing over what is wrong with it',
  (data) => {
    expect(decodePayload(data)).toBeUndefined();
  },
);
