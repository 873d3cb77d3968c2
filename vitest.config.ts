import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

// Limits end what hangs. They are far above what a test takes on a busy machine, and below the 75 seconds for which the
// services keep an idle connection, so that one that is left open shows.
const testTimeout = 60_000;
const hookTimeout = 60_000;
/** Tests of functions without state of their own: they share a process and load each module once. */
const pure = ['src/core/**/*.test.ts', 'src/protocols/**/*.test.ts'];
const setupFiles = ['test/support/patience.ts'];

export default defineConfig({
  test: {
    // Most of the time tests wait for processes, databases and real limits of time; two cores carry three files at once.
    maxWorkers: 3,
    // The processes and threads that tests start compile each module once.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/compiled') },
    expect: { poll: { timeout: 30_000, interval: 10 } },
    // Tests of one file that run together mostly wait, too.
    maxConcurrency: 10,
    projects: [
      { test: { name: 'pure', include: pure, isolate: false, setupFiles, testTimeout, hookTimeout } },
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'sandbox/**/*.test.ts', 'bench/**/*.test.ts', 'torture/**/*.test.ts'],
          exclude: ['**/*.contract.test.ts', ...pure],
          setupFiles,
          testTimeout,
          hookTimeout,
        },
      },
      {
        test: {
          name: 'contract',
          include: ['src/**/*.contract.test.ts'],
          globalSetup: 'src/pool/store/testing/postgres-setup.ts',
          setupFiles,
          testTimeout,
          hookTimeout,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/**/*.test.ts'],
          setupFiles,
          // Several processes start and end in one test.
          testTimeout: 2 * testTimeout,
          hookTimeout,
        },
      },
    ],
  },
});
