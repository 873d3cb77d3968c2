import { expect, it } from 'vitest';
import type { DecodedTurn } from '../../core/protocol.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { Route } from '../models/route.ts';
import { AnswerHead } from './answer-head.ts';

const inbound = { name: 'chat' as const, idPrefix: 'chatcmpl-' };

function headersOf(ignored: readonly string[], runUrl?: string) {
  const decoded = { request: plainTurn, ignored } as unknown as DecodedTurn<unknown>;
  const route = { provider: { name: 'oz', caller: { capabilities: new Set() } } } as unknown as Route;
  return new AnswerHead(inbound, { decoded, requestId: 'request-1' }, () => 0).headers([
    { route, handling: { ignored: [], taken: [] }, runUrl },
  ]);
}

it.each([
  ['https://oz.example/runs/1', 'https://oz.example/runs/1'],
  ['https://oz.example/läufe/1\r\nset-cookie: a=b', 'https://oz.example/l%C3%A4ufe/1set-cookie:%20a=b'],
  ['https://user:password@oz.example/', undefined],
  ['javascript:alert(1)', undefined],
  ['no address\u0000', undefined],
  [`https://oz.example/${'x'.repeat(3_000)}`, undefined],
])('shows the link to a run %j as a header may hold it', (given, shown) => {
  expect(headersOf([], given)['x-warp2api-run-url']).toBe(shown);
});

it('names what was ignored in characters of a header, and not all of a million', () => {
  const names = Array.from({ length: 1_000 }, (_, index) => `ü\r\nx: ${index}${'y'.repeat(1_000)}`);
  const shown = headersOf(names)['x-warp2api-ignored'] ?? '';
  expect(shown).toMatch(/^[A-Za-z0-9_., -]+$/);
  expect(shown.length).toBeLessThan(4_000);
});
