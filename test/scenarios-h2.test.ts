// The table of scenarios over TLS and HTTP/2, with an upstream that takes nothing else.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testScenarios } from './support/scenario-table.ts';
import { startTestServices, type TestServices } from './support/services.ts';

const limits = { UPSTREAM_FIRST_EVENT_SECONDS: '5', UPSTREAM_IDLE_SECONDS: '3' };
const played = { tls: 'only', requireHttp2: true } as const;
let crowd: TestServices;
let alone: TestServices;
beforeAll(async () => {
  crowd = await startTestServices(limits, undefined, played);
  alone = await startTestServices(limits, undefined, played);
});
afterAll(async () => {
  await alone.close();
  await crowd.close();
});

testScenarios(
  () => crowd,
  () => alone,
);

test('every turn came over HTTP/2, several on a session', () => {
  for (const { upstream } of [crowd, alone]) {
    expect(upstream.turns.length).toBeGreaterThan(0);
    expect(upstream.turns.filter(({ httpVersion }) => httpVersion !== '2.0')).toEqual([]);
  }
  expect(crowd.upstream.transport.stats().mostTurnsOpen).toBeGreaterThan(1);
});
