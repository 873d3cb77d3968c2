import { describe, expect, it } from 'vitest';
import { decodeAnswer } from './testing/decode.ts';
import { actions, add, begin, createTask, finished, init, output, rollback, task } from './testing/events.ts';
import { type Field, raw } from './testing/wire.ts';

const opening = [init(), actions(createTask(task('T'))), actions(add('T', output('m1', 'Hello')))];

function turn(figures: readonly Field[], memory?: Uint8Array) {
  const { events, ...rest } = decodeAnswer([...(memory ? [init()] : opening), finished(2, ...figures)], {
    memory,
  });
  return { usage: events.flatMap((event) => (event.type === 'usage' ? [event.usage] : []))[0], ...rest };
}

const float = (value: number) => ({ float: value });
const entry = (key: string, value: Uint8Array): Uint8Array => raw([1, key], [2, value]);
/** Input, output, cache reads, cache writes; their costs; the searches' cost. */
const inference = (counts: readonly number[], costs: readonly number[] = [], search = 0) =>
  raw(
    [1, raw(...counts.map((count, index): Field => [index + 1, count]))],
    [2, raw(...costs.map((cost, index): Field => [index + 1, float(cost)]))],
    [4, float(search)],
  );
/** One category: by model, through the field of who paid. */
const category = (name: string, ...fields: readonly Field[]): Field => [1, entry(name, raw(...fields))];
const byModel = (number: number, model: string, used: Uint8Array): Field => [number, entry(model, used)];
const charges = (...categories: readonly Field[]): Field => [13, raw(...categories)];

const ownCharges = charges(
  category('primary', byModel(1, 'claude', inference([100, 20, 50, 30], [1, 2, 0.25, 0.5]))),
  category('summary', byModel(2, 'gpt', inference([7, 3], [0.5])), [4, float(0.125)]),
  category('search', byModel(3, 'own', inference([1, 1], [], 0.0625))),
);
const tokenUsage: Field = [8, raw([2, 999], [3, 99], [4, 9], [5, 90], [6, float(9)])];
const totals = (fields: readonly Field[]): Field => [11, raw(...fields)];
const tokensOf = (all: number): Field => [6, raw([1, 'auto'], [2, raw([2, all])])];

describe('what a turn cost', () => {
  it('is what was charged for it, over all categories, models and payers', () => {
    const { usage } = turn([ownCharges, tokenUsage, totals([tokensOf(5_000), [10, 4_000]])]);
    expect(usage).toEqual({
      inputTokens: 188,
      outputTokens: 24,
      cachedInputTokens: 50,
      cacheWriteTokens: 30,
      costCents: 4.4375,
    });
  });

  it('counts the last one of two figures under one name', () => {
    const twice = [charges(category('primary', byModel(1, 'claude', inference([1, 1])))), ownCharges];
    const [first, last] = twice.map(([, bytes]) => bytes as Uint8Array);
    const both: Field = [13, Buffer.concat([first ?? '', last ?? ''].map((bytes) => Buffer.from(bytes)))];
    expect(turn([both]).usage).toEqual(turn([ownCharges]).usage);
  });

  it('is the token usage where nothing is charged, with what caches gave and took as part of the input', () => {
    const second: Field = [8, raw([2, 1], [3, 1])];
    expect(turn([tokenUsage, second, [10, raw([1, float(1.1)], [2, float(0.2)])]]).usage).toEqual({
      inputTokens: 1_000,
      outputTokens: 100,
      cachedInputTokens: 9,
      cacheWriteTokens: 90,
      costCents: 9,
      credits: 1.3,
    });
    expect(turn([[8, raw([2, 10], [3, 1], [4, 99], [5, 99])]]).usage).toEqual({
      inputTokens: 10,
      outputTokens: 1,
      cachedInputTokens: 10,
    });
  });

  it('takes the price of one source and the tokens of another where each tells one of them', () => {
    const priceOnly = charges(category('primary', [4, float(2)]));
    expect(turn([priceOnly, tokenUsage]).usage).toMatchObject({ inputTokens: 999, costCents: 2 });
    expect(turn([priceOnly]).usage).toEqual({ inputTokens: 0, outputTokens: 0, costCents: 2 });
  });

  it('is the growth of the total charges where the turn has none', () => {
    const total = (counts: readonly number[], cost: number) =>
      totals([[12, raw(category('primary', byModel(1, 'claude', inference(counts, [cost]))))]]);
    const first = turn([total([100, 20, 5], 1)]);
    expect(first.usage).toEqual({
      inputTokens: 105,
      outputTokens: 20,
      cachedInputTokens: 5,
      costCents: 1,
    });
    const second = turn([total([150, 30, 80], 1.5)], first.memory);
    expect(second.usage).toEqual({
      inputTokens: 125,
      outputTokens: 10,
      cachedInputTokens: 75,
      costCents: 0.5,
    });
    // Shrunk, as after a summary: nothing is known, and the next turn counts from there.
    const third = turn([total([10, 10], 0.5)], second.memory);
    expect(third.usage).toBeUndefined();
    expect(turn([total([12, 11], 0.75)], third.memory).usage).toMatchObject({ inputTokens: 2 });
  });

  it('never takes the growth of total_input_tokens, which is the input of the latest call', () => {
    const first = turn([totals([[3, float(2)], tokensOf(130), [8, float(1)], [10, 100]])]);
    expect(first.usage).toEqual({ inputTokens: 100, outputTokens: 30, isEstimated: true, credits: 3 });
    const figures = totals([[3, float(3)], tokensOf(300), [8, float(1.5)], [10, 150]]);
    const second = decodeAnswer(
      [init(), actions(begin, add('T', output('m2', 'gone')), rollback), finished(2, figures)],
      { memory: first.memory },
    );
    expect(second.events).toContainEqual({
      type: 'usage',
      usage: { inputTokens: 150, outputTokens: 20, isEstimated: true, credits: 1.5 },
    });
    // Only its input is known of a turn whose totals have not grown by more.
    expect(turn([totals([[10, 100]])]).usage).toBeUndefined();
    expect(turn([totals([tokensOf(300), [10, 400]])], second.memory).usage).toBeUndefined();
  });

  it('leaves out invalid figures', () => {
    const odd = [Number.NaN, Number.POSITIVE_INFINITY, -5];
    for (const value of odd) {
      const { usage } = turn([
        charges(
          category('primary', byModel(1, 'x', inference([5, 1], [value, 1], value)), [4, float(value)]),
        ),
        [10, raw([1, float(value)], [2, float(0.5)])],
        totals([[3, float(value)]]),
      ]);
      expect(usage).toEqual({ inputTokens: 5, outputTokens: 1, costCents: 1, credits: 0.5 });
    }
    const most = 0xffff_ffff;
    const { memory } = turn([totals([tokensOf(most), [7, entry('a', raw([2, most]))]])]);
    expect(memory).toBeDefined();
  });
});
