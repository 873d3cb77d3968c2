import { expect, it } from 'vitest';
import { AppError } from '../core/errors.ts';
import { plainTurn } from '../core/testing/plain-turn.ts';
import type { AskedMessage, AskedRequest } from '../core/turn.ts';
import type { ImageFetcher } from './image-fetcher.ts';
import { maxFetchedImages, turnImagesOf } from './turn-images.ts';

const { signal } = new AbortController();

function createFetcher(gone: readonly string[] = [], size = 4) {
  const fetched: string[] = [];
  const fetcher: ImageFetcher = {
    async fetch({ url, param }) {
      fetched.push(url);
      if (gone.includes(url)) throw new AppError('invalid_request', 'gone', { param });
      return { type: 'image', mediaType: 'image/png', data: 'A'.repeat(size) };
    },
    close: async () => {},
  };
  return { fetcher, fetched };
}

const urlPart = (url: string) => ({ type: 'image-url' as const, url, param: `param of ${url}` });
const user = (...urls: string[]): AskedMessage => ({ role: 'user', parts: urls.map(urlPart) });
const assistant: AskedMessage = { role: 'assistant', parts: [{ type: 'text', text: 'Yes' }] };

function requestOf(...messages: AskedMessage[]): AskedRequest {
  return {
    ...plainTurn,
    messages,
  };
}

const inlined = { type: 'image', mediaType: 'image/png', data: 'AAAA' };
const gone = { type: 'text', text: '[an image that is no longer at its address]' };

it('puts images inline in messages and in results of tools, each fetched once however often the turn begins', async () => {
  const { fetcher, fetched } = createFetcher();
  const result = { type: 'tool-result' as const, callId: 'c', text: 'a map', isError: false };
  const request = requestOf(user('a'), {
    role: 'tool',
    parts: [{ ...result, images: [urlPart('a'), urlPart('b')] }],
  });
  const images = turnImagesOf(request, fetcher);
  await images?.inline({ request }, signal);
  const turn = await images?.inline({ request }, signal);
  expect(turn?.request.messages).toEqual([
    { role: 'user', parts: [inlined] },
    { role: 'tool', parts: [{ ...result, images: [inlined, inlined] }] },
  ]);
  expect(fetched).toEqual(['a', 'b']);
});

it('fetches nothing the upstream remembers', async () => {
  const { fetcher, fetched } = createFetcher();
  const request = requestOf(user('old'), assistant, user('new'));
  const remembered = { memory: new Uint8Array(), newMessages: request.messages.slice(2) };
  const turn = await turnImagesOf(request, fetcher)?.inline({ request, remembered }, signal);
  expect(turn?.remembered?.newMessages).toEqual([{ role: 'user', parts: [inlined] }]);
  expect(turn?.request.messages[0]).toEqual({ role: 'user', parts: [gone] });
  expect(fetched).toEqual(['new']);
});

it('goes on without a picture of long ago that is gone, but not without a new one', async () => {
  const { fetcher } = createFetcher(['old']);
  const later = requestOf(user('old'), assistant, user('new'));
  const turn = await turnImagesOf(later, fetcher)?.inline({ request: later }, signal);
  expect(turn?.request.messages).toEqual([
    { role: 'user', parts: [gone] },
    assistant,
    { role: 'user', parts: [inlined] },
  ]);
  const first = requestOf(user('old'));
  await expect(turnImagesOf(first, fetcher)?.inline({ request: first }, signal)).rejects.toMatchObject({
    param: 'param of old',
  });
});

it('refuses too many images and too many bytes, and fetches the latest of a long history alone', async () => {
  const { fetcher, fetched } = createFetcher();
  const many = Array.from({ length: maxFetchedImages + 1 }, (_, index) => `i${index}`);
  expect(() => turnImagesOf(requestOf(user(...many)), fetcher)).toThrow(/at most 20 images/);
  const history = requestOf(user(...many), assistant, user('new'));
  await turnImagesOf(history, fetcher)?.inline({ request: history }, signal);
  expect(fetched).toEqual([...many.slice(2), 'new']);

  const large = createFetcher([], 12 * 1024 * 1024).fetcher;
  const heavy = requestOf(user('a', 'b', 'c'));
  await expect(turnImagesOf(heavy, large)?.inline({ request: heavy }, signal)).rejects.toThrow(
    /20 MB together/,
  );
});

it('says what to do where images are not fetched, and asks nothing of a request without any', () => {
  expect(() => turnImagesOf(requestOf(user('a')), undefined)).toThrow(/param of a: .*FETCH_IMAGES=yes/);
  expect(turnImagesOf(requestOf(assistant), undefined)).toBeUndefined();
});
