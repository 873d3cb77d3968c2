// The table of scenarios over TLS and HTTP/2, with an upstream that takes nothing else.
import { expect, test } from 'vitest';
import { testScenarios, useScenarioServices } from './support/scenario-table.ts';

const { crowd, alone } = useScenarioServices({ tls: 'only', requireHttp2: true });

testScenarios(crowd, alone);

test('every turn came over HTTP/2, several on a session', () => {
  for (const { upstream } of [crowd(), alone()]) {
    expect(upstream.turns.length).toBeGreaterThan(0);
    expect(upstream.turns.filter(({ httpVersion }) => httpVersion !== '2.0')).toEqual([]);
  }
  expect(crowd().upstream.transport.stats().mostTurnsOpen).toBeGreaterThan(1);
});
