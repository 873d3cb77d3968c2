import { expect, vi } from 'vitest';

// Tests that start several processes, build the package, have a database or share a browser with others do much.
if (/\/test\/|\.contract\.test\.ts$/.test(expect.getState().testPath ?? '')) {
  vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });
}

// vi.waitFor gives up after a second unless a call says otherwise, and no setting changes that. A busy machine takes longer.
const { waitFor } = vi;
vi.waitFor = (look, options = {}) =>
  waitFor(look, {
    timeout: 30_000,
    interval: 10,
    ...(typeof options === 'number' ? { timeout: options } : options),
  });
