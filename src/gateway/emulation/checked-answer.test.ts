import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { UpstreamProvider } from '../../core/provider.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { AskedRequest, Limits, ResponseFormat } from '../../core/turn.ts';
import { lineOutbound, lines } from '../testing/fake-upstream.ts';
import { settled } from '../testing/manual-clock.ts';
import {
  clientTurn,
  createTurnFixture,
  SeenOutput,
  type TurnFixture,
  until,
} from '../testing/turn-fixture.ts';
import { TurnRun } from '../turn/run-turn.ts';

let fixture: TurnFixture;
beforeEach(async () => {
  fixture = await createTurnFixture();
  fixture.pool.add('one');
});
afterEach(() => fixture.close());

const schema = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};
const bySchema: ResponseFormat = { type: 'json-schema', schema, param: 'response_format.schema' };

/** Answers with these lines, a call each, and tells what the client saw. */
async function ask(change: Partial<AskedRequest>, answers: readonly (readonly string[])[]) {
  fixture.upstream.answer = (call, index) => lines(call, ...(answers[index] ?? []));
  const request: AskedRequest = {
    ...plainTurn,
    messages: [{ role: 'user', parts: [{ type: 'text', text: 'Where?' }] }],
    ...change,
  };
  const output = new SeenOutput();
  const summary = await new TurnRun(fixture.turns, clientTurn(request, { wantsUsage: true }), output).run();
  const { events, text, batches } = output;
  return { summary, events, text, batches, prompts: fixture.upstream.calls.map(({ body }) => body.prompt) };
}

const askJson = (responseFormat: ResponseFormat, answers: readonly string[], limits: Limits = {}) =>
  ask(
    { responseFormat, limits },
    answers.map((text) => [`say ${text}`, 'usage 10 5', 'end']),
  );

describe('an answer that has to be JSON', () => {
  it('is asked for in the instructions and passed on when it is as asked', async () => {
    const { text, prompts, batches, summary } = await askJson(bySchema, ['{"city": "Oslo"}']);
    expect(text).toBe('{"city": "Oslo"}');
    expect(prompts).toHaveLength(1);
    expect(batches).toHaveLength(1);
    expect(summary.error).toBeUndefined();
  });

  it('is sent back once with what is wrong, and the client sees the mended one alone, with the usage of both', async () => {
    const { text, prompts, events, summary } = await askJson(bySchema, [
      '{"town": "Oslo"}',
      '{"city": "Oslo"}',
    ]);
    expect(text).toBe('{"city": "Oslo"}');
    expect(prompts).toHaveLength(2);
    expect(prompts[1]).toMatch(/not the JSON that was asked for: .*city/);
    expect(events.filter(({ type }) => type === 'finish')).toHaveLength(1);
    expect(summary.usage).toMatchObject({ inputTokens: 20, outputTokens: 10 });
  });

  it('is an error when it is wrong twice, and never half an answer', async () => {
    const { text, events, prompts, summary } = await askJson({ type: 'json' }, ['Sure!', '[1]', '{}']);
    expect(prompts).toHaveLength(2);
    expect(text).toBe('');
    expect(events.map(({ type }) => type)).toEqual(['error']);
    expect(summary.error).toMatchObject({ code: 'upstream_protocol' });
  });

  it('may be any object when no schema is given', async () => {
    expect((await askJson({ type: 'json' }, ['{"any": [1, 2]}'])).text).toBe('{"any": [1, 2]}');
  });
});

it('takes the code fence off that models put around JSON', async () => {
  const { text, prompts } = await askJson(bySchema, ['```json {"city": "Oslo"} ```']);
  expect(text).toBe('{"city": "Oslo"}');
  expect(prompts).toHaveLength(1);
});

it('passes JSON on as it was cut by a stop sequence or a limit of the client', async () => {
  const cut = await askJson(bySchema, ['{"city": "Oslo", "x": 1}'], { stopSequences: [', "x"'] });
  expect(cut.text).toBe('{"city": "Oslo"');
  expect(cut.events.at(-1)).toEqual({ type: 'finish', reason: 'stop', stopSequence: ', "x"' });
  expect(cut.prompts).toHaveLength(1);
  fixture.upstream.calls.length = 0;
  const short = await askJson(bySchema, ['{"city": "Oslo"}'], { maxOutputTokens: 1 });
  expect(short.text).toBe('{"');
  expect(short.events.at(-1)).toEqual({ type: 'finish', reason: 'length' });
  expect(short.prompts).toHaveLength(1);
});

it('ends with an error of the request, and a free event loop, when a schema takes for ever', async () => {
  const pattern = { type: 'string', pattern: '^(a+)+$' };
  const format: ResponseFormat = { type: 'json-schema', schema: pattern, param: 'response_format.schema' };
  const asked = askJson(format, [`"${'a'.repeat(60)}!"`]);
  await until(() => fixture.upstream.calls.length === 1);
  await vi.waitFor(async () => {
    await fixture.clock.advance(2_000);
    expect(await Promise.race([asked, settled()])).toBeDefined();
  });
  const { events, summary } = await asked;
  expect(events.map(({ type }) => type)).toEqual(['error']);
  expect(summary.error).toMatchObject({ code: 'invalid_request', param: 'response_format.schema' });
});

const tools = ['read', 'write'].map((name) => ({ name, parameters: { type: 'object' } }));
const required = { tools, toolChoice: { type: 'required' } } as const;
const named = { tools, toolChoice: { type: 'tool', name: 'read' } } as const;

describe('an answer that has to call a tool', () => {
  it('is passed on when it does, with what was said before', async () => {
    const { events, prompts } = await ask(required, [
      ['say wait', 'call write {}', 'usage 1 1', 'end tools'],
    ]);
    expect(events.map(({ type }) => type)).toEqual([
      'text-delta',
      'tool-call-start',
      'tool-call-delta',
      'tool-call-end',
      'usage',
      'finish',
    ]);
    expect(prompts).toHaveLength(1);
  });

  it('is sent back once when it does not, and the client sees the call alone, with the usage of both', async () => {
    const { events, text, prompts, summary } = await ask(required, [
      ['say I would rather talk', 'usage 10 5 0.5', 'end'],
      ['call write {}', 'usage 10 5 0.25', 'end tools'],
    ]);
    expect(text).toBe('');
    expect(prompts[1]).toMatch(/called no tool/);
    expect(events.filter(({ type }) => type === 'finish')).toEqual([
      { type: 'finish', reason: 'tool-calls' },
    ]);
    expect(summary.usage).toEqual({ inputTokens: 20, outputTokens: 10, credits: 0.75 });
    expect(events.find(({ type }) => type === 'usage')).toMatchObject({ usage: { credits: 0.75 } });
  });

  it('is sent back when it calls another tool than the one that is named', async () => {
    const { events, prompts } = await ask(named, [
      ['call write {}', 'usage 1 1', 'end tools'],
      ['call read {}', 'usage 1 1', 'end tools'],
    ]);
    expect(prompts[1]).toMatch(/has to be a call of the tool "read"/);
    expect(events.filter(({ type }) => type === 'tool-call-start')).toMatchObject([{ name: 'read' }]);
  });

  it('is an error when the model will not, and never a text', async () => {
    const { events, prompts, summary } = await ask(named, [
      ['say no', 'usage 1 1', 'end'],
      ['say no', 'usage 1 1', 'end'],
    ]);
    expect(prompts).toHaveLength(2);
    expect(events.map(({ type }) => type)).toEqual(['error']);
    expect(summary.error).toMatchObject({ code: 'upstream_protocol' });
  });

  it('needs no JSON beside the call', async () => {
    const { events, prompts } = await ask({ ...required, responseFormat: bySchema }, [
      ['call read {}', 'usage 1 1', 'end tools'],
    ]);
    expect(prompts).toHaveLength(1);
    expect(events.at(-1)).toEqual({ type: 'finish', reason: 'tool-calls' });
  });

  it('ends with the error that met the second try', async () => {
    const { events } = await ask(required, [['say no', 'usage 1 1', 'end'], ['error context_too_long no']]);
    expect(events).toMatchObject([{ type: 'error', error: { code: 'context_too_long' } }]);
  });
});

it('is left to an upstream that keeps to it by itself, and shown as it comes', async () => {
  const { routes } = fixture.turns;
  const plan = await routes.plan({ ...plainTurn, messages: [] });
  const outbound = { ...lineOutbound, capabilities: new Set(['jsonSchema', 'toolChoice'] as const) };
  const candidates = plan.candidates.map((route) => ({
    ...route,
    provider: { ...route.provider, outbound } as UpstreamProvider,
  }));
  vi.spyOn(routes, 'plan').mockResolvedValue({ ...plan, candidates });
  const { text, batches, prompts } = await ask({ ...required, responseFormat: bySchema }, [
    ['say Sure!', 'usage 1 1', 'end'],
  ]);
  expect(text).toBe('Sure!');
  expect(prompts).toEqual(['Where?']);
  expect(batches.flat().some(({ type }) => type === 'error')).toBe(false);
});
