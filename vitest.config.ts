import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { SlowestFirst } from './test/support/slowest-first.ts';

export default defineConfig({
  test: {
    // Much of the time tests wait for processes, databases and real limits of time: two cores carry eight files at once.
    maxWorkers: 8,
    sequence: { sequencer: SlowestFirst },
    // Tests of one file that run together mostly wait, too.
    maxConcurrency: 10,
    // The files of a worker share its process and load each module once; what modules keep are caches.
    isolate: false,
    // The processes and threads that tests start compile each module once.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/compiled') },
    setupFiles: ['test/support/patience.ts'],
    expect: { poll: { timeout: 30_000, interval: 10 } },
    // Limits end what hangs. They are far above what a test takes on a busy machine, and below the 75 seconds for which
    // the services keep an idle connection, so that one that is left open shows.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    globalSetup: [
      'test/support/own-environment.ts',
      'test/support/scratch.ts',
      'test/support/browser-setup.ts',
      'src/pool/store/testing/postgres-setup.ts',
    ],
    include: ['{src,sandbox,bench,torture,test}/**/*.test.ts'],
  },
});
