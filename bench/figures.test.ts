import { expect, test } from 'vitest';
import { median, quantile, ratios, show, showSpread, table } from './figures.ts';

test('the median lies in the middle, whatever the order', () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([10, 1, 2, 9])).toBe(5.5);
  expect(median([])).toBeNaN();
});

test('a quantile is one of the values', () => {
  const values = Array.from({ length: 100 }, (_none, index) => 99 - index);
  expect(quantile(values, 0.5)).toBe(50);
  expect(quantile(values, 0.99)).toBe(99);
  expect(quantile([7], 0.99)).toBe(7);
});

test('ratios are taken round by round', () => {
  expect(ratios([20, 60, 30], [10, 20, 10])).toEqual({ median: 3, min: 2, max: 3 });
  expect(showSpread(ratios([20, 60, 30], [10, 20, 10]))).toBe('3.00 (2.00-3.00)');
});

test('figures keep three digits', () => {
  expect([1234.5, 99.96, 1.005, Number.NaN].map(show)).toEqual(['1,235', '100.0', '1.00', '-']);
});

test('a table is Markdown', () => {
  expect(table(['name', 'n'], [['one', '1']])).toBe('| name | n   |\n| ---- | --- |\n| one  | 1   |');
});
