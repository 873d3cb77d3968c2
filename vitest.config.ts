import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Most of the time tests wait for processes, databases and real limits of time; two cores carry three files at once.
    maxWorkers: 3,
    // Tests of one file that run together mostly wait, too.
    maxConcurrency: 10,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'sandbox/**/*.test.ts', 'bench/**/*.test.ts', 'torture/**/*.test.ts'],
          exclude: ['**/*.contract.test.ts'],
          // Some start servers and processes, on machines that do other work as well.
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'contract',
          include: ['src/**/*.contract.test.ts'],
          globalSetup: 'src/pool/store/testing/postgres-setup.ts',
          testTimeout: 30_000,
        },
      },
      { test: { name: 'e2e', include: ['test/**/*.test.ts'], testTimeout: 30_000, hookTimeout: 30_000 } },
    ],
  },
});
