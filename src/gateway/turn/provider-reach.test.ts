import { beforeEach, expect, it } from 'vitest';
import { createManualClock, type ManualClock, settled } from '../testing/manual-clock.ts';
import { ProviderReach } from './upstream-health.ts';

let clock: ManualClock;
let reach: ProviderReach;
const never = new AbortController().signal;
beforeEach(() => {
  clock = createManualClock();
  reach = new ProviderReach(clock);
});

function asking(waitMs = 10_000) {
  const asked: { answer?: string } = {};
  void reach.mayTry('warp', clock.monotonic() + waitMs, never).then((answer) => {
    asked.answer = answer;
  });
  return asked;
}

it('a provider that can be reached is never waited for', async () => {
  expect(await reach.mayTry('warp', 0, never)).toBe('yes');
});

it('of those that wait one probes at a time, with pauses that grow to two seconds', async () => {
  reach.unreachable('warp', false);
  const pauses: number[] = [];
  for (let probe = 0; probe < 6; probe += 1) {
    const turns = [asking(), asking(), asking()];
    const begunAt = clock.monotonic();
    while (!turns.some(({ answer }) => answer)) await clock.advance(50);
    expect(turns.map(({ answer }) => answer)).toEqual(['as-probe', undefined, undefined]);
    pauses.push(clock.monotonic() - begunAt);
    reach.connected('warp');
    await settled();
    expect(turns.map(({ answer }) => answer)).toEqual(['as-probe', 'yes', 'yes']);
    for (let failure = 0; failure <= probe; failure += 1) reach.unreachable('warp', failure > 0);
  }
  expect(pauses[0]).toBe(250);
  expect(Math.max(...pauses)).toBe(2_000);
});

it('a wait ends in time, and another turn probes when the probing one ends without an answer', async () => {
  reach.unreachable('warp', false);
  await clock.advance(250);
  const [probing, next, late] = [asking(), asking(), asking(1_000)];
  await settled();
  expect(probing.answer).toBe('as-probe');
  await clock.advance(1_000);
  expect([next.answer, late.answer]).toEqual([undefined, 'too-late']);
  reach.probeEnded('warp');
  await settled();
  expect(next.answer).toBe('as-probe');
});

it('an outage that no turn has looked into for a minute is not shown as one', async () => {
  reach.unreachable('warp', false);
  expect(reach.all.get('warp')).toBe(false);
  await clock.advance(61_000);
  expect(reach.all.get('warp')).toBe(true);
});
