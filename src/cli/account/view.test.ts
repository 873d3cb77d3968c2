import { expect, it } from 'vitest';
import { createAccount } from '../../pool-api/pool.fake.ts';
import { noteOf } from './view.ts';

it('says until when a replaced refresh token waits, and does not blame the provider', () => {
  const note = noteOf(
    createAccount({
      status: 'cooldown',
      status_reason: 'token_pending',
      probe: 'unproved',
      next_refresh_at: '2030-01-01T02:00:00Z',
    }),
  );
  expect(note).toContain('before 2030-01-01T02:00:00Z');
  expect(note).not.toContain('warp could not be asked');
});
