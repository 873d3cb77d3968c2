import { expect, test } from 'vitest';
import { scenarios } from '../sandbox/index.ts';
import { hugeText, readStream, table, testScenarios, useScenarioServices } from './support/scenario-table.ts';
import { eventually, userTurn } from './support/services.ts';

const { crowd, alone } = useScenarioServices();

test('the table names every scenario of the sandbox', () => {
  expect(Object.keys(table).sort()).toEqual(scenarios.map((scenario) => scenario.name).sort());
});

testScenarios(crowd, alone);

test('a client that does not read stops the upstream, and loses nothing when it reads on', async () => {
  // Enough answers of 8 MiB that the kernel's own buffers cannot hold them.
  const count = 24;
  const services = crowd();
  const id = await services.addAccount('wk-slowreader', { capacity: count });
  const first = services.upstream.turns.length;
  const answers = await Promise.all(
    Array.from({ length: count }, () => services.chat(userTurn('sandbox-huge', 'Hello', { stream: true }))),
  );
  const sent = () => services.upstream.turns.slice(first).reduce((sum, turn) => sum + turn.eventsSent, 0);
  let before = -1;
  await eventually('the upstream stands still', async () => {
    const now = sent();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const isStill = now === before;
    before = now;
    return isStill;
  });
  const waiting = services.upstream.turns.slice(first).findIndex((turn) => !turn.finished);
  expect(waiting).not.toBe(-1);
  const [reader, ...others] = answers;
  for (const answer of others) await answer.body?.cancel();
  const stream = readStream((await reader?.text()) ?? '');
  expect(stream).toMatchObject({ finishes: ['stop'], errors: [], isDone: true });
  expect(stream.text).toBe(hugeText());
  await services.pool(`/api/accounts/${id}`, undefined, 'DELETE');
});
