import { vi } from 'vitest';

// vi.waitFor gives up after a second unless a call says otherwise, and no setting changes that. A busy machine takes longer.
const { waitFor } = vi;
vi.waitFor = (look, options = {}) =>
  waitFor(look, {
    timeout: 30_000,
    interval: 10,
    ...(typeof options === 'number' ? { timeout: options } : options),
  });
