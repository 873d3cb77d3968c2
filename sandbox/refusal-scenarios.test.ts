import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from './index.ts';
import { at, chatRequest, eventsOf, hold, send } from './raw-client.ts';
import { refusalScenarios } from './refusal-scenarios.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterAll(() => sandbox.close());

const ask = (name: string) => send(sandbox.url, chatRequest({ model: `sandbox-${name}` }));

const refusals: Record<string, [number, string, RegExp]> = {
  '400-model': [400, 'application/json', /requested base model \(.+\) is not allowed for your account/],
  '400-planning-model': [
    400,
    'text/plain',
    /requested planning model \(.+\) is not allowed for your account/,
  ],
  '400-no-model': [400, 'application/json', /No model available/],
  '403-page': [403, 'text/html', /^<html>/],
  '403-empty': [403, 'text/plain', /^$/],
  '403-blocked': [403, 'application/json', /blocked from using AI features/],
  portal: [302, 'text/plain', /^$/],
  '429-quota': [429, 'application/json', /No remaining quota/],
  '429-requests': [429, 'text/plain', /No AI requests remaining/],
  '429-edge': [429, 'text/plain', /^Rate exceeded\.$/],
  '429-json': [429, 'application/json', /"error"/],
  '429-hours': [429, 'text/plain', /too many requests/],
  '429-date': [429, 'text/plain', /too many requests/],
  '503-hours': [503, 'text/plain', /unavailable/],
};

test.each(Object.entries(refusals))('%s is a refusal', async (name, [status, type, body]) => {
  const answer = await ask(name);
  expect(answer.status).toBe(status);
  expect(answer.headers['content-type']).toContain(type);
  expect(answer.body).toMatch(body);
});

const internal = refusalScenarios.map(({ name }) => name).filter((name) => name.startsWith('internal-'));

test.each(internal)('%s is an internal_error before any content', async (name) => {
  const held = hold(eventsOf((await ask(name)).body));
  expect([held.reason, held.texts]).toEqual([7, []]);
  expect(String(at(held.finished ?? Buffer.alloc(0), 7, 1))).not.toBe('');
});

test('Retry-After tells of hours, in seconds and as a date', async () => {
  expect((await ask('429-hours')).headers['retry-after']).toBe('7200');
  const date = Date.parse(String((await ask('429-date')).headers['retry-after']));
  expect(Math.abs(date - Date.now() - 7_200_000)).toBeLessThan(60_000);
});

test('every refusal is tested here', () => {
  expect([...internal, ...Object.keys(refusals)].sort()).toEqual(
    refusalScenarios.map(({ name }) => name).sort(),
  );
});
