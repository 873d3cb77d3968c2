import { afterAll, beforeAll, expect, test } from 'vitest';
import { endScenarios } from './end-scenarios.ts';
import { type Sandbox, startSandbox } from './index.ts';
import { at, chatRequest, decode, eventsOf, type Held, hold, send } from './raw-client.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterAll(() => sandbox.close());

const whole = 'You said: Hello';
const part = 'The first part of an answer';

async function talk(name: string, parts: Parameters<typeof chatRequest>[0] = {}): Promise<Held> {
  return hold(eventsOf((await send(sandbox.url, chatRequest({ model: `sandbox-${name}`, ...parts }))).body));
}

const fieldsOf = (bytes: Buffer | undefined): number[] =>
  decode(bytes ?? Buffer.alloc(0)).map(({ no }) => no);

/** The text, and the fields of StreamFinished in the order sent. */
const ends: Record<string, [string, number[]]> = {
  charges: [whole, [2, 11, 13]],
  'conversation-usage': [whole, [2, 11]],
  'no-reason': [whole, []],
  'no-reason-empty': ['', []],
  'reason-14': ['', [14]],
  'reason-14-late': [part, [14]],
  'reason-15': ['', [15]],
  'reason-40': [part, [40]],
  'unknown-end': [whole, [2, 60, 61]],
  'broken-charges': [whole, [2, 13]],
  'broken-token-usage': [whole, [2, 8]],
  'broken-usage': [whole, [2, 10, 11]],
  'broken-types': [whole, [2, 13, 8, 10, 9, 11]],
  'broken-messages': [whole, [2]],
};

test.each(Object.entries(ends))('%s says "%s" and ends as the wire has it', async (name, [text, fields]) => {
  const held = await talk(name);
  expect(held.texts.join('')).toBe(text);
  expect(held.finished).toBeDefined();
  expect(fieldsOf(held.finished)).toEqual(fields);
});

test('every scenario of an end is tested here', () => {
  expect(Object.keys(ends)).toEqual(endScenarios.map(({ name }) => name));
});

test('charges name models and tokens by category, and the conversation adds them up', async () => {
  const first = await talk('charges');
  const finished = first.finished ?? Buffer.alloc(0);
  const categories = decode(at(finished, 13) ?? Buffer.alloc(0)).map(({ value }) => String(at(value, 1)));
  expect(categories).toEqual(['primary_agent', 'summarizer']);
  const primary = at(finished, 13, 1, 2, 1);
  expect(String(at(primary ?? Buffer.alloc(0), 1))).toBe('sandbox-charges');
  const tokens = (bytes: Buffer | undefined) =>
    Object.fromEntries(decode(bytes ?? Buffer.alloc(0)).map(({ no, number }) => [no, number]));
  expect(tokens(at(primary ?? Buffer.alloc(0), 2, 1))).toEqual({ 1: 102, 2: 4 });
  const second = await talk('charges', { conversationId: first.conversationId, tasks: first.tasks });
  const end = second.finished ?? Buffer.alloc(0);
  expect(tokens(at(end, 13, 1, 2, 1, 2, 1))).toEqual({ 1: 52, 2: 4, 3: 50 });
  expect(tokens(at(end, 11, 12, 1, 2, 1, 2, 1))).toEqual({ 1: 154, 2: 8, 3: 50 });
  const latestInput = (bytes: Buffer) =>
    decode(at(bytes, 11) ?? Buffer.alloc(0)).find(({ no }) => no === 10)?.number;
  expect([latestInput(finished), latestInput(end)]).toEqual([102, 102]);
  expect(sandbox.turns.at(-1)?.problems).toEqual([]);
});

test('the fields that are called broken do not decode', async () => {
  const { finished } = await talk('broken-charges');
  expect(() => decode(at(finished ?? Buffer.alloc(0), 13) ?? Buffer.alloc(0))).toThrow();
});

test('what does not decode is taken back as it was sent', async () => {
  const first = await talk('broken-messages');
  await talk('broken-messages', { conversationId: first.conversationId, tasks: first.tasks });
  expect(sandbox.turns.at(-1)).toMatchObject({ status: 200, problems: [] });
});
