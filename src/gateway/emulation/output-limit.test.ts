import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { TurnEvent } from '../../core/turn.ts';
import { createOutputLimit } from './stages.ts';
import { countTokens } from './token-count.ts';

const stop: TurnEvent = { type: 'finish', reason: 'stop' };

/** Passes deltas through a limit, one batch each, and collects what comes out. */
function pass(deltas: readonly string[], maxTokens: number) {
  const limit = createOutputLimit(maxTokens);
  const events: TurnEvent[] = [];
  for (const batch of [...deltas.map((text): TurnEvent[] => [{ type: 'text-delta', text }]), [stop]]) {
    events.push(...limit.apply(batch));
    if (events.at(-1)?.type === 'finish') break;
  }
  const last = events.at(-1);
  const text = events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
  return { text, isCut: last?.type === 'finish' && last.reason === 'length', events };
}

function cutAt(text: string, cuts: readonly number[]): string[] {
  const characters = [...text];
  const places = [...new Set(cuts.map((cut) => cut % (characters.length + 1)))].sort((a, b) => a - b);
  return [...places, characters.length].map((end, index) =>
    characters.slice(index === 0 ? 0 : places[index - 1], end).join(''),
  );
}

const words = fc
  .array(
    fc.constantFrom(
      ...[
        'straw',
        'berry',
        ' the',
        ' ',
        '  ',
        '\n',
        "'",
        're',
        's',
        '12',
        '345',
        '.',
        '!!',
        '/',
        'Über',
        '你好',
      ],
      ...[
        '世界',
        '🧿',
        '👩‍👩‍👧',
        'e\u0301',
        '<|endoftext|>',
        '{"a":',
        'function',
        '\t',
        '\r\n',
        'ANTI',
        'dis',
      ],
    ),
    { maxLength: 40 },
  )
  .map((parts) => parts.join(''));
const anyText = fc.oneof(words, fc.string({ unit: 'grapheme', maxLength: 80 }));

it('shows a beginning of the whole, of no more tokens than allowed, cut only if the whole has more', () => {
  fc.assert(
    fc.property(
      anyText,
      fc.array(fc.nat(), { maxLength: 20 }),
      fc.integer({ min: 1, max: 40 }),
      (text, cuts, max) => {
        const { text: shown, isCut } = pass(cutAt(text, cuts), max);
        expect(text.startsWith(shown)).toBe(true);
        expect(countTokens(shown)).toBeLessThanOrEqual(max);
        expect(isCut).toBe(countTokens(text) > max);
        if (!isCut) expect(shown).toBe(text);
        if (text.isWellFormed()) expect(shown.isWellFormed()).toBe(true);
      },
    ),
    { numRuns: 3_000 },
  );
});

it('does not cut a word that comes in parts and is one token in the end', () => {
  const { text, isCut } = pass(['str', 'aw', 'berry'], countTokens('strawberry'));
  expect([text, isCut]).toEqual(['strawberry', false]);
});

it('cuts in the middle of a long answer exactly where the limit is', () => {
  const whole = Array.from({ length: 400 }, (_, index) => `word${index}`).join(' ');
  const { text, isCut } = pass(whole.match(/.{1,7}/gs) ?? [], 100);
  expect(isCut).toBe(true);
  expect(countTokens(text)).toBe(100);
});

it('hands batches on as they are while there is room', () => {
  const limit = createOutputLimit(1_000);
  const batch: TurnEvent[] = [{ type: 'start' }, { type: 'text-delta', text: 'hello' }];
  expect(limit.apply(batch)).toBe(batch);
});

it('leaves reasoning and tool calls alone', () => {
  const limit = createOutputLimit(1);
  const batch: TurnEvent[] = [
    { type: 'reasoning-delta', text: 'a long thought about many things' },
    { type: 'tool-call-start', index: 0, id: 'c', name: 'read' },
    { type: 'tool-call-delta', index: 0, arguments: '{"path":"a/b/c/d"}' },
    { type: 'tool-call-end', index: 0 },
    { type: 'finish', reason: 'tool-calls' },
  ];
  expect(limit.apply(batch)).toBe(batch);
});

it('stays fast on text without a border', () => {
  const { isCut } = pass(
    Array.from({ length: 3_000 }, () => '你好世界'),
    2_000,
  );
  expect(isCut).toBe(true);
});

it('loads no tokenizer while the bytes cannot pass the limit', async () => {
  const { execFileSync } = await import('node:child_process');
  const script = `
    const { createOutputLimit } = await import(${JSON.stringify(new URL('./stages.ts', import.meta.url).href)});
    const { createRequire } = await import('node:module');
    const isLoaded = () => Object.keys(createRequire(import.meta.url).cache ?? {}).some((name) => name.includes('gpt-tokenizer'));
    const limit = createOutputLimit(20);
    limit.apply([{ type: 'text-delta', text: 'twenty bytes of text' }]);
    const before = isLoaded();
    limit.apply([{ type: 'text-delta', text: ' and more' }]);
    console.log(before, isLoaded());`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(output.trim()).toBe('false true');
});

it('counts reasoning where it is asked to, and ends in the middle of it', () => {
  const limit = createOutputLimit(4, true);
  const thought = (text: string): TurnEvent => ({ type: 'reasoning-delta', text });
  expect(limit.apply([thought('one two')])).toEqual([thought('one two')]);
  expect(limit.apply([{ type: 'text-delta', text: ' three four five six' }])).toEqual([
    { type: 'text-delta', text: ' three four' },
    { type: 'finish', reason: 'length' },
  ]);
  const whole = thought('one two three four five six');
  expect(createOutputLimit(4, true).apply([whole])).toEqual([
    thought('one two three four'),
    { type: 'finish', reason: 'length' },
  ]);
  expect(createOutputLimit(4).apply([whole])).toEqual([whole]);
});

it('tells of no more tokens than it let through', () => {
  const usage = { inputTokens: 9, outputTokens: 400, reasoningTokens: 300, credits: 2 };
  const events = createOutputLimit(2).apply([
    { type: 'text-delta', text: 'one two three four' },
    { type: 'usage', usage },
    stop,
  ]);
  expect(events.find(({ type }) => type === 'usage')).toEqual({
    type: 'usage',
    usage: { inputTokens: 9, outputTokens: 2, reasoningTokens: 2, credits: 2, isEstimated: true },
  });
});

it('lets everything through once a call has begun: an answer with a call ends as one', () => {
  const limit = createOutputLimit(1);
  const call: TurnEvent = { type: 'tool-call-start', index: 0, id: 'call_1', name: 'read' };
  const rest: TurnEvent[] = [
    { type: 'tool-call-delta', index: 0, arguments: '{"a":"hello world"}' },
    { type: 'tool-call-end', index: 0 },
    { type: 'text-delta', text: 'hello world, and more' },
  ];
  const end: TurnEvent = { type: 'finish', reason: 'tool-calls' };
  expect(limit.apply([{ type: 'text-delta', text: 'a' }, call, ...rest])).toEqual([
    { type: 'text-delta', text: 'a' },
    call,
    ...rest,
  ]);
  expect(limit.apply([...rest, end])).toEqual([...rest, end]);
});
