// What no account did costs no account anything: ten of them stay in service through a hundred turns of each such fault.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { startTestServices, type TestServices, userTurn } from './support/services.ts';

const accounts = 10;
const turns = 100;

/** Faults by whose they are, and what clients are answered. */
const faults: Record<string, readonly [string, number][]> = {
  request: [
    ['400', 400],
    ['404', 400],
    ['context', 400],
    ['internal-context-length', 400],
    ['internal-pdf-pages', 400],
    ['internal-schema', 400],
    ['undeclared-tool', 200],
    ['builtin-tools', 200],
    ['undeclared-mcp-tool', 200],
  ],
  model: [
    ['unavailable', 503],
    ['internal-vendor-403', 503],
    ['internal-vendor-429', 503],
    ['internal-vendor-529', 503],
    ['internal-credits', 503],
  ],
  network: [
    ['403-page', 502],
    ['403-empty', 502],
    ['html', 502],
    ['portal', 502],
    ['cut', 502],
    ['cut-early', 502],
    ['reset-early', 502],
    ['refused-stream', 502],
    ['reset-no-error', 502],
  ],
};

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices({}, undefined, {
    tls: 'only',
    requireHttp2: true,
    port: await findFreePort(),
  });
  for (let number = 1; number <= accounts; number += 1) await services.addAccount(`wk-ten-${number}`);
});
afterAll(() => services.close());

async function statuses(): Promise<string[]> {
  const { accounts: list } = await services.pool('/api/accounts');
  return (list as { status: string }[]).map(({ status }) => status);
}

const allActive = Array.from({ length: accounts }, () => 'active');

/** A hundred turns, ten at a time; the statuses they were answered with. */
async function ask(model: string): Promise<number[]> {
  const seen = new Set<number>();
  for (let round = 0; round < turns / 10; round += 1) {
    const answers = Array.from({ length: 10 }, async () => {
      const answer = await services.chat(userTurn(model, 'Hello'));
      await answer.text();
      seen.add(answer.status);
    });
    await Promise.all(answers);
  }
  return [...seen];
}

describe.each(Object.entries(faults))('a fault of the %s', (_whose, list) => {
  test.each(list)(`"%s" in ${turns} turns leaves ten accounts active`, async (name, allowed) => {
    expect(await ask(`sandbox-${name}`)).toEqual([allowed]);
    expect(await statuses()).toEqual(allActive);
    // Nothing rests: a turn of another model is answered.
    expect((await services.chat(userTurn('sandbox', 'Hello'))).status).toBe(200);
  });
});

test('an outage leaves ten accounts active, and turns go on after it', async () => {
  await services.upstream.transport.stopListening();
  const during = Array.from({ length: turns }, () => services.chat(userTurn('sandbox', 'Hello')));
  await Promise.race(during);
  expect(await statuses()).toEqual(allActive);
  await services.upstream.transport.startListening();
  await Promise.all(during);
  expect((await services.chat(userTurn('sandbox', 'Hello'))).status).toBe(200);
  expect(await statuses()).toEqual(allActive);
});

test('what the vendor says about an account does take it out of service', async () => {
  await ask('sandbox-403-blocked');
  expect(await statuses()).not.toEqual(allActive);
});
