import { beforeEach, expect, it } from 'vitest';
import type { RawItem } from '../../protocols/openai-responses/schema.ts';
import { BufferedStore } from '../state/buffered-store.ts';
import { createManualClock, type ManualClock } from '../testing/manual-clock.ts';
import { createRecentTurns, nothingBefore, StoredResponses } from './stored-responses.ts';

let clock: ManualClock;
let responses: StoredResponses;
let sizes: number[];
beforeEach(() => {
  clock = createManualClock();
  sizes = [];
  const keep = new BufferedStore({ clock, maxBytes: 100_000_000 });
  const put = keep.put.bind(keep);
  keep.put = (key, value, ttlMs) => {
    sizes.push(value.length);
    return put(key, value, ttlMs);
  };
  responses = new StoredResponses(keep, 1_000, (error) => {
    throw error;
  });
});

const say = (role: 'user' | 'assistant', content: string): RawItem => ({ type: 'message', role, content });

async function link(id: string, previous?: string, words = id): Promise<void> {
  const before = previous === undefined ? undefined : await responses.continueFrom('me', previous, true);
  await responses.put('me', {
    response: { id, status: 'completed', output: [say('assistant', `${words}!`)] },
    input: [say('user', words)],
    ancestors: before?.ancestors ?? [],
    base: before?.base ?? [],
  });
}

const contents = (items: readonly RawItem[]) => items.map((item) => item['content']);

it('a response continues all those before it, in their order', async () => {
  await link('a');
  await link('b', 'a');
  await link('c', 'b');
  const { items, ancestors } = await responses.continueFrom('me', 'c', true);
  expect(contents(items)).toEqual(['a', 'a!', 'b', 'b!', 'c', 'c!']);
  expect(ancestors).toEqual(['a', 'b', 'c']);
  expect(contents(await responses.inputOf('me', 'c'))).toEqual(['a', 'a!', 'b', 'b!', 'c']);
});

it('a response of any number of items can be gone on from', async () => {
  const input = Array.from({ length: 200_000 }, () => say('user', 'x'));
  const response = { id: 'a', status: 'completed', output: [] };
  await responses.put('me', { response, input, ancestors: [], base: [] });
  await link('b', 'a');
  expect((await responses.continueFrom('me', 'b', true)).items.length).toBe(200_002);
});

it('a long conversation is kept once: no entry holds what another does', async () => {
  await link('r0', undefined, 'x'.repeat(10_000));
  for (let index = 1; index < 50; index += 1) await link(`r${index}`, `r${index - 1}`, 'x'.repeat(10_000));
  expect(Math.max(...sizes)).toBeLessThan(2 * 10_000 + 2_000);
});

it('what is in no stored response comes first', async () => {
  await responses.put('me', {
    response: { id: 'a', status: 'completed', output: [say('assistant', 'a!')] },
    input: [say('user', 'a')],
    ancestors: [],
    base: [say('user', 'before')],
  });
  await link('b', 'a');
  expect(contents((await responses.continueFrom('me', 'b', true)).items)).toEqual([
    'before',
    'a',
    'a!',
    'b',
    'b!',
  ]);
});

it('a deleted link can be neither read nor continued over, and what follows it can still be read', async () => {
  await link('a');
  await link('b', 'a');
  await link('c', 'b');
  await responses.remove('me', 'b');
  await expect(responses.get('me', 'b')).rejects.toMatchObject({ code: 'not_found' });
  await expect(responses.continueFrom('me', 'c', true)).rejects.toMatchObject({
    code: 'previous_response_not_found',
    message: expect.stringContaining('"b"'),
  });
  expect((await responses.get('me', 'c')).response).toMatchObject({ id: 'c' });
  await expect(responses.remove('me', 'b')).rejects.toMatchObject({ code: 'not_found' });
});

it('belongs to the key that made it, until it expires', async () => {
  await link('a');
  await expect(responses.get('you', 'a')).rejects.toMatchObject({ code: 'not_found' });
  await expect(responses.continueFrom('you', 'a', true)).rejects.toMatchObject({
    code: 'previous_response_not_found',
  });
  await expect(responses.remove('you', 'a')).rejects.toMatchObject({ code: 'not_found' });
  await clock.advance(1_000);
  await expect(responses.get('me', 'a')).rejects.toMatchObject({ code: 'not_found' });
});

it.each(['queued', 'in_progress', 'failed', 'cancelled'])(
  'a response that is %s cannot be continued',
  async (status) => {
    await responses.put('me', {
      response: { id: 'a', status, output: [] },
      input: [],
      ancestors: [],
      base: [],
    });
    await expect(responses.continueFrom('me', 'a', true)).rejects.toMatchObject({
      code: 'invalid_request',
      param: 'previous_response_id',
    });
  },
);

it('a conversation without end is refused with what to do', async () => {
  const ancestors = Array.from({ length: 500 }, (_, index) => `r${index}`);
  await responses.put('me', {
    response: { id: 'a', status: 'completed', output: [] },
    input: [],
    ancestors,
    base: [],
  });
  await expect(responses.continueFrom('me', 'a', true)).rejects.toMatchObject({
    code: 'context_too_long',
    message: expect.stringContaining('/v1/responses/compact'),
  });
  // What is stored nowhere may go on from it: that is how it is compacted.
  await Promise.all(ancestors.map((id) => link(id)));
  expect((await responses.continueFrom('me', 'a', false)).items).toHaveLength(1_000);
});

it('a response of very many items is continued like any other', async () => {
  const input = Array.from({ length: 200_000 }, () => say('user', 'x'));
  const response = { id: 'long', status: 'completed', output: [] };
  await responses.put('me', { response, input, ancestors: [], base: [] });
  await link('next', 'long');
  expect((await responses.continueFrom('me', 'next', true)).items).toHaveLength(input.length + 2);
});

it('waits a moment for what another instance is still writing, and no longer', async () => {
  const keep = new BufferedStore({ clock, maxBytes: 1_000_000 });
  const others = { clock, arePossible: () => true };
  const mine = new StoredResponses(keep, 60_000, () => {}, others);
  const looking = mine.get('me', 'late');
  await clock.advance(100);
  const late = {
    response: { id: 'late', status: 'completed', output: [] },
    input: [],
    ancestors: [],
    base: [],
  };
  await new StoredResponses(keep, 60_000, () => {}).put('me', late);
  await clock.advance(400);
  expect(await looking).toEqual(late);

  const never = expect(mine.continueFrom('me', 'never', true)).rejects.toMatchObject({
    code: 'previous_response_not_found',
  });
  for (let step = 0; step < 10; step += 1) await clock.advance(50);
  await never;
  expect(await mine.find('me', 'never')).toBeUndefined();
});

it('says that a store that is away is away, and not that a response is not there', async () => {
  const away = () => Promise.reject(new Error('no route to the database'));
  const keep = { get: away, put: away, insert: away, claim: away };
  const stranded = new StoredResponses(keep, 1_000, () => {});
  const unavailable = { code: 'storage_unavailable', status: 503, retryAfterMs: 5_000 };
  await expect(stranded.get('me', 'a')).rejects.toMatchObject(unavailable);
  await expect(stranded.continueFrom('me', 'a', true)).rejects.toMatchObject(unavailable);
  await expect(stranded.remove('me', 'a')).rejects.toMatchObject(unavailable);
});

const turn = (id: string, bytes: number) => ({ id, continued: { ...nothingBefore, bytes } });

it('holds no more than its bytes for all connections: the one not used for longest goes first', () => {
  const recent = createRecentTurns(250);
  const [one, two, three] = [{}, {}, {}];
  recent.set(one, turn('a', 100));
  recent.set(two, turn('b', 100));
  recent.get(one);
  recent.set(three, turn('c', 100));
  expect(recent.get(two)).toBeUndefined();
  expect(recent.get(one)).toBeDefined();
  expect(recent.get(three)).toBeDefined();
});

it('does not let one that is too large push all others out', () => {
  const recent = createRecentTurns(250);
  const [one, two] = [{}, {}];
  recent.set(one, turn('a', 100));
  recent.set(two, turn('b', 300));
  expect(recent.get(one)).toBeDefined();
  expect(recent.get(two)).toBeUndefined();
});
