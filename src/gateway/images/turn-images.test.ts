import { expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { AskedMessage, AskedRequest } from '../../core/turn.ts';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import type { ImageFetcher } from './image-fetcher.ts';
import { type AskedTurn, type ImageRules, maxFetchedImages, turnImagesOf } from './turn-images.ts';

const { signal } = new AbortController();
const bodies = new BodyBudget(72_000_000);

function createFetcher(gone: readonly string[] = [], size = 4) {
  const fetched: string[] = [];
  const fetcher: ImageFetcher = {
    async fetch({ url, param }, _signal, onBytes) {
      fetched.push(url);
      if (gone.includes(url)) throw new AppError('invalid_request', 'gone', { param });
      onBytes(size * 0.75);
      return { type: 'image', mediaType: 'image/png', data: 'A'.repeat(size) };
    },
    hold: (clientId) => bodies.begin(clientId),
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

const rules: ImageRules = {
  hasVision: true,
  takesDocuments: false,
  limits: { maxCount: 20, maxBytes: 20_000_000 },
};
function prepare(turn: AskedTurn, fetcher?: ImageFetcher, more: Partial<ImageRules> = {}) {
  const images = turnImagesOf(turn.request, fetcher);
  if (!images) throw new Error('The request has no images.');
  images.check(turn.request);
  return images.prepare(turn, { ...rules, ...more }, signal);
}

const inlined = { type: 'image', mediaType: 'image/png', data: 'AAAA' };
const gone = { type: 'text', text: '[Not shown: an image that is no longer at its address.]' };

it('puts images inline in messages and in results of tools, each fetched once however often the turn begins', async () => {
  const { fetcher, fetched } = createFetcher();
  const result = { type: 'tool-result' as const, callId: 'c', text: 'a map', isError: false };
  const request = requestOf(user('a'), {
    role: 'tool',
    parts: [{ ...result, images: [urlPart('a'), urlPart('b')] }],
  });
  const images = turnImagesOf(request, fetcher);
  await images?.prepare({ request }, rules, signal);
  const prepared = await images?.prepare({ request }, rules, signal);
  expect(prepared?.ignored).toEqual([]);
  expect(prepared?.turn.request.messages).toEqual([
    { role: 'user', parts: [inlined] },
    { role: 'tool', parts: [{ ...result, images: [inlined, inlined] }] },
  ]);
  expect(fetched).toEqual(['a', 'b']);
});

it('fetches nothing the upstream remembers', async () => {
  const { fetcher, fetched } = createFetcher();
  const request = requestOf(user('old'), assistant, user('new'));
  const remembered = { memory: new Uint8Array(), newMessages: request.messages.slice(2) };
  const { turn, ignored } = await prepare({ request, remembered }, fetcher);
  expect(ignored).toEqual([]);
  expect(turn.remembered?.newMessages).toEqual([{ role: 'user', parts: [inlined] }]);
  expect(turn.request.messages[0]).toEqual({ role: 'user', parts: [gone] });
  expect(fetched).toEqual(['new']);
});

it('goes on without a picture of long ago that is gone, but not without a new one', async () => {
  const { fetcher } = createFetcher(['old']);
  const later = requestOf(user('old'), assistant, user('new'));
  const { turn, ignored } = await prepare({ request: later }, fetcher);
  expect(ignored).toEqual(['param of old']);
  expect(turn.request.messages).toEqual([
    { role: 'user', parts: [gone] },
    assistant,
    { role: 'user', parts: [inlined] },
  ]);
  const first = requestOf(user('old'));
  await expect(prepare({ request: first }, fetcher)).rejects.toMatchObject({
    param: 'param of old',
  });
});

it('refuses too many images and too many bytes, and fetches the latest of a long history alone', async () => {
  const { fetcher, fetched } = createFetcher();
  const many = Array.from({ length: maxFetchedImages + 1 }, (_, index) => `i${index}`);
  expect(() => prepare({ request: requestOf(user(...many)) }, fetcher)).toThrow(/param of i20: .*at most 20/);
  const history = requestOf(user(...many), assistant, user('new'));
  await prepare({ request: history }, fetcher);
  expect(fetched).toEqual([...many.slice(2), 'new']);

  const large = createFetcher([], 12 * 1024 * 1024).fetcher;
  const heavy = requestOf(user('a', 'b', 'c'));
  await expect(prepare({ request: heavy }, large)).rejects.toThrow(/20 MB together/);
});

it('fetches few images of a turn at the same time, and none once there are too many bytes', async () => {
  const begun: { readonly onBytes: (count: number) => void; fail(error: unknown): void }[] = [];
  const fetcher: ImageFetcher = {
    hold: (clientId) => bodies.begin(clientId),
    fetch: (_image, _signal, onBytes) => new Promise((_resolve, fail) => begun.push({ onBytes, fail })),
    close: async () => {},
  };
  const urls = Array.from({ length: maxFetchedImages }, (_, index) => `i${index}`);
  const prepared = prepare({ request: requestOf(user(...urls)) }, fetcher);
  const refused = expect(prepared).rejects.toThrow(/20 MB together/);
  expect(begun).toHaveLength(4);
  const errors = begun.map(({ onBytes, fail }) => {
    try {
      return onBytes(11 * 1024 * 1024);
    } catch (error) {
      return fail(error);
    }
  });
  expect(errors).toHaveLength(4);
  await refused;
  await new Promise(setImmediate);
  expect(begun).toHaveLength(4);
});

it('counts what is fetched among the bodies of all requests, until the last of the turns that share it ends', async () => {
  const { fetcher } = createFetcher([], 8_000_000);
  const request = requestOf(user('a'));
  const images = turnImagesOf(request, fetcher);
  if (!images) throw new Error('The request has no images.');
  const turns = [images.hold('a client'), images.hold('a client')];
  await images.prepare({ request }, rules, signal);
  expect(bodies.heldBytes).toBe(6_000_000);
  const other = turnImagesOf(
    requestOf(user('old'), assistant, user('b')),
    createFetcher([], 20_000_000).fetcher,
  );
  // An older picture is not said to be gone when there is no room for it.
  other?.hold('a client');
  const refused = other?.prepare({ request: requestOf(user('old'), assistant) }, rules, signal);
  await expect(refused).rejects.toMatchObject({ code: 'overloaded', retryAfterMs: 2_000 });
  turns[0]?.release();
  expect(bodies.heldBytes).toBe(6_000_000);
  turns[1]?.release();
  expect(bodies.heldBytes).toBe(0);
});

it('says what to do where images are not fetched, and asks nothing of a request without any', () => {
  expect(() => prepare({ request: requestOf(user('a')) })).toThrow(/param of a: .*FETCH_IMAGES=yes/);
  expect(turnImagesOf(requestOf(assistant), undefined)).toBeUndefined();
});

const notFetched = { type: 'text', text: '[Not shown: an image that is not fetched from its address here.]' };
const picture = (size: number) => ({
  type: 'image' as const,
  mediaType: 'image/png',
  data: 'A'.repeat(size),
  param: `param of ${size}`,
});
const asked = (text: string): AskedMessage => ({ role: 'user', parts: [{ type: 'text', text }] });
const told = (...images: ReturnType<typeof picture>[]): AskedMessage => ({
  role: 'tool',
  parts: [{ type: 'tool-result', callId: 'c', text: 'map', images, isError: false }],
});

it('an old address does not end a conversation where images are not fetched', async () => {
  const { turn, ignored } = await prepare({ request: requestOf(user('old'), assistant, asked('And?')) });
  expect(turn.request.messages[0]).toEqual({ role: 'user', parts: [notFetched] });
  expect(ignored).toEqual(['param of old']);
});

it('an image larger than the upstream takes is refused when it is new, and else noted', async () => {
  const small = { limits: { maxCount: 20, maxBytes: 30 } };
  const sent: AskedMessage = { role: 'user', parts: [picture(44)] };
  await expect(prepare({ request: requestOf(sent) }, undefined, small)).rejects.toMatchObject({
    code: 'invalid_request',
    param: 'param of 44',
  });
  for (const messages of [
    [sent, assistant, asked('And?')],
    [asked('Go'), assistant, told(picture(44))],
  ]) {
    const { turn, ignored } = await prepare({ request: requestOf(...messages) }, undefined, small);
    expect(JSON.stringify(turn.request.messages)).toContain('Not shown: an image that has ');
    expect(ignored).toEqual(['param of 44']);
  }
});

it('of more images than the upstream takes the latest are kept', async () => {
  const two = { limits: { maxCount: 2 } };
  const old: AskedMessage = { role: 'user', parts: [picture(4), picture(8)] };
  const { turn } = await prepare({ request: requestOf(old, assistant, told(picture(12))) }, undefined, two);
  expect(turn.request.messages[0]?.parts).toMatchObject([{ type: 'text' }, { data: 'A'.repeat(8) }]);
  const three: AskedMessage = { role: 'user', parts: [picture(4), picture(8), picture(12)] };
  await expect(prepare({ request: requestOf(three) }, undefined, two)).rejects.toThrow(/at most 2 are taken/);
});

it('a model without vision gets notes for the images of the history', async () => {
  const { turn, ignored } = await prepare(
    { request: requestOf(asked('Go'), assistant, told(picture(4))) },
    undefined,
    { hasVision: false },
  );
  expect(turn.request.messages[2]?.parts).toEqual([
    {
      type: 'tool-result',
      callId: 'c',
      text: 'map\n[Not shown: an image that the model cannot see.]',
      isError: false,
    },
  ]);
  expect(ignored).toEqual(['param of 4']);
});
