import { expect, it } from 'vitest';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { AskedMessage, AskedRequest, Message, ToolCallPart, TurnRequest } from '../../core/turn.ts';
import { BufferedStore } from '../state/buffered-store.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import { Conversations } from './conversations.ts';

const clock = createManualClock();
const memory = new Uint8Array([1, 2, 3]);

function conversations() {
  return new Conversations(new BufferedStore({ clock, maxBytes: 1_000_000 }));
}

function request(messages: readonly Message[], change: Partial<TurnRequest> = {}): TurnRequest {
  return {
    ...plainTurn,
    messages,
    ...change,
  };
}

function user(text: string): Message {
  return { role: 'user', parts: [{ type: 'text', text }] };
}

function assistant(text: string, ...calls: ToolCallPart[]): Message {
  return { role: 'assistant', parts: [...(text === '' ? [] : [{ type: 'text', text } as const]), ...calls] };
}

function toolCall(json: string, id = 'call-1'): ToolCallPart {
  return { type: 'tool-call', id, name: 'read', arguments: json };
}

/** Whether a later request goes on where an earlier one was answered. */
async function follows(
  first: { request: AskedRequest; text?: string; calls?: ToolCallPart[]; client?: string; provider?: string },
  second: { request: AskedRequest; client?: string; provider?: string },
): Promise<boolean> {
  const kept = conversations();
  const before = await kept.find(first.client ?? 'me', first.provider ?? 'warp', first.request);
  before.remember('one', { text: first.text ?? '', toolCalls: first.calls ?? [] }, memory);
  const after = await kept.find(second.client ?? 'me', second.provider ?? 'warp', second.request);
  return after.accountId === 'one';
}

it('finds the conversation by what the client sends again, with the messages that came since', async () => {
  const kept = conversations();
  const first = await kept.find('me', 'warp', request([user('hi')]));
  expect(first.accountId).toBeUndefined();
  expect(first.goOn('one')).toBeUndefined();
  first.remember('one', { text: 'hello', toolCalls: [] }, memory);
  const second = await kept.find('me', 'warp', request([user('hi'), assistant('hello'), user('more')]));
  expect(second.accountId).toBe('one');
  expect(second.goOn('two')).toBeUndefined();
  const claim = second.goOn('one');
  expect(claim?.newMessages).toEqual([user('more')]);
  expect(Uint8Array.from(claim?.memory ?? [])).toEqual(memory);
});

it('lets one of two turns go on, and the other tell its history anew', async () => {
  const kept = conversations();
  const first = await kept.find('me', 'warp', request([user('hi')]));
  first.remember('one', { text: 'hello', toolCalls: [] }, memory);
  const again = request([user('hi'), assistant('hello'), user('more')]);
  const [left, right] = [await kept.find('me', 'warp', again), await kept.find('me', 'warp', again)];
  expect([left.goOn('one')?.newMessages, right.goOn('one')]).toEqual([[user('more')], undefined]);
  expect([left.end(), right.end()]).toEqual(['hit', 'claimed']);
});

it('lets a turn that was never heard upstream be told again', async () => {
  const kept = conversations();
  const first = await kept.find('me', 'warp', request([user('hi')]));
  first.remember('one', { text: 'hello', toolCalls: [] }, memory);
  const again = request([user('hi'), assistant('hello'), user('more')]);
  const second = await kept.find('me', 'warp', again);
  const claim = second.goOn('one');
  expect(claim).toBeDefined();
  second.restore();
  expect(second.goOn('one')).toEqual(claim);
  second.restore();
  expect(second.end()).toBe('lost');
  expect((await kept.find('me', 'warp', again)).goOn('one')).toEqual(claim);
});

it.each([3_000, 30_000, 300_000])('knows a history of %d characters again', async (length) => {
  const long = user('word '.repeat(length / 5));
  const first = { request: request([long]), text: 'hello' };
  expect(await follows(first, { request: request([long, assistant('hello'), user('more')]) })).toBe(true);
  const other = user(`${'word '.repeat(length / 5 - 1)}verse`);
  expect(await follows(first, { request: request([other, assistant('hello'), user('more')]) })).toBe(false);
});

it('parts conversations as soon as their texts do', async () => {
  const kept = conversations();
  const first = await kept.find('me', 'warp', request([user('hi')]));
  first.remember('one', { text: 'hello', toolCalls: [] }, memory);
  first.remember('two', { text: 'good day', toolCalls: [] }, memory);
  const hello = await kept.find('me', 'warp', request([user('hi'), assistant('hello'), user('x')]));
  const day = await kept.find('me', 'warp', request([user('hi'), assistant('good day'), user('x')]));
  const other = await kept.find('me', 'warp', request([user('hi'), assistant('howdy'), user('x')]));
  expect([hello.accountId, day.accountId, other.accountId]).toEqual(['one', 'two', undefined]);
});

it('passes over what clients change on the way', async () => {
  const first = request([user('hi')]);
  const calls = [toolCall('{"path":"a","n":1}')];
  const echoed: Message[] = [
    { role: 'assistant', parts: [{ type: 'text', text: 'hello \n' }] },
    {
      role: 'assistant',
      parts: [
        { type: 'reasoning', text: 'hm' },
        { type: 'text', text: 'hello' },
      ],
    },
    {
      role: 'assistant',
      parts: [
        { type: 'text', text: 'hel' },
        { type: 'text', text: 'lo' },
      ],
    },
  ];
  for (const message of echoed) {
    const second = request([user('hi'), message, user('more')]);
    expect(await follows({ request: first, text: ' hello\n' }, { request: second })).toBe(true);
  }
  const spaced = assistant('', toolCall('{ "path": "a",\n "n": 1 }'));
  const second = request([user('hi'), spaced, user('more')]);
  expect(await follows({ request: first, calls }, { request: second })).toBe(true);
});

it('takes arguments that are no JSON as they stand', async () => {
  const first = request([user('hi')]);
  const calls = [toolCall('{"path": "a')];
  const same = request([user('hi'), assistant('', toolCall('{"path": "a')), user('x')]);
  const other = request([user('hi'), assistant('', toolCall('{"path":"a')), user('x')]);
  expect(await follows({ request: first, calls }, { request: same })).toBe(true);
  expect(await follows({ request: first, calls }, { request: other })).toBe(false);
});

it('never matches another client, provider, model or set of tools', async () => {
  const first = { request: request([user('hi')]), text: 'hello' };
  const messages = [user('hi'), assistant('hello'), user('more')];
  const tools = [{ name: 'read', parameters: {} }];
  expect(await follows(first, { request: request(messages) })).toBe(true);
  expect(await follows(first, { request: request(messages), client: 'you' })).toBe(false);
  expect(await follows(first, { request: request(messages), provider: 'sandbox' })).toBe(false);
  expect(await follows(first, { request: request(messages, { model: 'other' }) })).toBe(false);
  expect(await follows(first, { request: request(messages, { tools }) })).toBe(false);
});

it('minds the order, the roles and the borders of messages', async () => {
  const system = (text: string): Message => ({ role: 'system', parts: [{ type: 'text', text }] });
  const first = { request: request([system('a'), user('b'), user('c')]), text: 'hello' };
  const end = [assistant('hello'), user('more')];
  const changed: Message[][] = [
    [system('a'), user('c'), user('b')],
    [system('a'), user('bc')],
    [system('a'), user('b'), user(''), user('c')],
    [user('a'), user('b'), user('c')],
    [system('a'), user('b'), user('c ')],
  ];
  expect(await follows(first, { request: request([system('a'), user('b'), user('c'), ...end]) })).toBe(true);
  for (const messages of changed) {
    expect(await follows(first, { request: request([...messages, ...end]) })).toBe(false);
  }
});

it('minds the ids and the results of calls, and images', async () => {
  const result = (text: string, isError = false): Message => ({
    role: 'tool',
    parts: [{ type: 'tool-result', callId: 'call-1', text, isError }],
  });
  const image = (data: string): Message => ({
    role: 'user',
    parts: [{ type: 'image', mediaType: 'image/png', data }],
  });
  const start = [image('AA'), assistant('', toolCall('{}'))];
  const first = { request: request([...start, result('42')]), text: 'done' };
  const end = [assistant('done'), user('x')];
  expect(await follows(first, { request: request([...start, result('42'), ...end]) })).toBe(true);
  for (const messages of [
    [...start, result('43')],
    [...start, result('42', true)],
    [image('AB'), assistant('', toolCall('{}')), result('42')],
    [image('AA'), assistant('', toolCall('{}', 'call-2')), result('42')],
  ]) {
    expect(await follows(first, { request: request([...messages, ...end]) })).toBe(false);
  }
});

it('knows an image by its address, whatever it shows', async () => {
  const image = (url: string): AskedMessage => ({
    role: 'user',
    parts: [{ type: 'image-url', url, param: 'messages.0' }],
  });
  const again = (url: string, param: string): AskedRequest => ({
    ...request([]),
    messages: [
      { role: 'user', parts: [{ type: 'image-url', url, param }] },
      assistant('a cat'),
      user('what colour?'),
    ],
  });
  const first = { ...request([]), messages: [image('https://x/a.png')] };
  expect(await follows({ request: first, text: 'a cat' }, { request: again('https://x/a.png', 'p') })).toBe(
    true,
  );
  expect(await follows({ request: first, text: 'a cat' }, { request: again('https://x/b.png', 'p') })).toBe(
    false,
  );
});

it('tells how a turn met its conversation', async () => {
  const kept = conversations();
  const again = request([user('hi'), assistant('hello'), user('more')]);
  const miss = await kept.find('me', 'warp', again);
  expect(miss.goOn('one')).toBeUndefined();
  expect(miss.end()).toBe('miss');

  const first = await kept.find('me', 'warp', request([user('hi')]));
  first.remember('one', { text: 'hello', toolCalls: [] }, memory);
  expect(first.end()).toBe('new');

  const lost = await kept.find('me', 'warp', again);
  expect(lost.goOn('two')).toBeUndefined();
  expect(lost.end()).toBe('lost');

  const failedOver = await kept.find('me', 'warp', again);
  expect(failedOver.goOn('one')).toBeDefined();
  expect(failedOver.goOn('two')).toBeUndefined();
  expect(failedOver.end()).toBe('lost');

  // Its account has seen it, so nobody else may go on from there.
  const late = await kept.find('me', 'warp', again);
  expect([late.accountId, late.end()]).toEqual([undefined, 'claimed']);
});

it('does without a keep that fails', async () => {
  const away = async () => {
    throw new Error('away');
  };
  const kept = new Conversations({ get: away, put: away, insert: away, claim: away });
  const first = await kept.find('me', 'warp', request([user('hi')]));
  first.remember('one', { text: 'hello', toolCalls: [] }, memory);
  const second = await kept.find('me', 'warp', request([user('hi'), assistant('hello'), user('more')]));
  expect([second.goOn('one'), second.end()]).toEqual([undefined, 'miss']);
});

it('asks the store nothing for an upstream without a memory, and still tells first turns from later ones', async () => {
  const asked = async (): Promise<never> => {
    throw new Error('asked');
  };
  const kept = new Conversations({ get: asked, put: asked, insert: asked, claim: asked });
  const first = kept.unremembered('me', request([user('hi')]));
  const later = kept.unremembered('me', request([user('hi'), assistant('hello'), user('more')]));
  expect([first.goOn('one'), later.goOn('one'), later.beginAnew()]).toEqual([undefined, undefined, false]);
  expect([first.end(), later.end()]).toEqual(['new', 'miss']);
  expect(() => first.remember('one', { text: '', toolCalls: [] }, memory)).toThrow('without a memory');
});
