import { expect, it } from 'vitest';
import { noteOf } from './notes.ts';

it('says until when a replaced refresh token waits, and does not blame the provider', () => {
  const note = noteOf({
    id: 'acc_1',
    provider: 'warp',
    status: 'cooldown',
    status_reason: 'token_pending',
    status_evidence: null,
    probe: 'unproved',
    refresh_failure: null,
    next_refresh_at: '2030-01-01T02:00:00Z',
  });
  expect(note).toContain('before 2030-01-01T02:00:00Z');
  expect(note).not.toContain('warp could not be asked');
});
