import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from './index.ts';
import { chatRequest, decode, eventsOf, hold, send } from './raw-client.ts';
import { toolScenarios } from './tool-scenarios.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterAll(() => sandbox.close());

/** Fields of ToolCall, in the order of the calls. */
const kinds: Record<string, number[]> = {
  'undeclared-tool': [2],
  'builtin-tools': [2, 5, 9, 22, 36],
  'undeclared-mcp-tool': [12],
};

test.each(Object.entries(kinds))('%s calls the tools of fields %j and ends well', async (name, fields) => {
  const request = chatRequest({ model: `sandbox-${name}`, tools: ['look'] });
  const { body } = await send(sandbox.url, request);
  const held = hold(eventsOf(body));
  const messages = decode(held.tasks[0] ?? Buffer.alloc(0)).filter(({ no }) => no === 5);
  const calls = messages.flatMap(({ value }) => decode(value).filter(({ no }) => no === 4));
  expect(calls.map(({ value }) => decode(value).find(({ no }) => no !== 1)?.no)).toEqual(fields);
  expect([held.reason, held.texts]).toEqual([2, []]);
});

test('every scenario of a tool is tested here', () => {
  expect(Object.keys(kinds)).toEqual(toolScenarios.map(({ name }) => name));
});
