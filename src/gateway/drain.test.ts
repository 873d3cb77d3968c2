import { expect, it } from 'vitest';
import type { AppError } from '../core/errors.ts';
import { createDrain } from './drain.ts';
import { createManualClock } from './testing/manual-clock.ts';

it('ends what runs at the deadline, cuts what is left soon after, and waits for the last one', async () => {
  const clock = createManualClock();
  const drain = createDrain(clock);
  const heard: string[] = [];
  const over = drain
    .wait(
      20_000,
      (error: AppError) => heard.push(error.code),
      () => heard.push('cut'),
    )
    .then(() => heard.push('over'));
  await clock.advance(19_999);
  expect(heard).toEqual([]);
  await clock.advance(1);
  expect(heard).toEqual(['shutting_down']);
  await clock.advance(1_000);
  expect(heard).toEqual(['shutting_down', 'cut']);
  drain.allOver();
  await over;
  expect(heard).toEqual(['shutting_down', 'cut', 'over']);
});

it('ends nothing once all is over, and takes an end before it began for none', async () => {
  const clock = createManualClock();
  const drain = createDrain(clock);
  const heard: string[] = [];
  drain.allOver();
  const over = drain.wait(20_000, (error) => heard.push(error.code)).then(() => heard.push('over'));
  await clock.advance(0);
  expect(heard).toEqual([]);
  drain.allOver();
  await over;
  await clock.advance(60_000);
  expect(heard).toEqual(['over']);
});
