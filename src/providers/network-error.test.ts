import { expect, it } from 'vitest';
import { UnsentError, type UnsentPhase } from '../lib/network/transport-errors.ts';
import { networkError } from './http.ts';

it.each<[UnsentPhase, string, boolean]>([
  ['connect', 'once', true],
  ['refused', 'once', false],
  ['closed', 'once', false],
  ['protocol', 'no', false],
])('what was not sent (%s) goes to one other account at most', (phase, failover, isUnreachable) => {
  const error = networkError(new UnsentError(phase, 'It was not sent.'), 'It broke.');
  expect(error).toMatchObject({ fault: 'network', outcome: undefined, failover, isUnreachable });
});
