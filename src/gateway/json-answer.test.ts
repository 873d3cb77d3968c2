import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../core/errors.ts';
import type { ResponseFormat, TurnEvent } from '../core/turn.ts';
import { checkSchema, runTurnInFormat } from './json-answer.ts';
import { lines } from './testing/fake-upstream.ts';
import { createTurnFixture, silentLogger, type TurnFixture } from './testing/turn-fixture.ts';

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
const bySchema: ResponseFormat = { type: 'json-schema', schema, param: 'response_format' };

/** Answers with these texts, one a call, and tells what the client saw. */
async function ask(format: ResponseFormat, answers: readonly string[]) {
  fixture.upstream.answer = (call, index) => lines(call, `say ${answers[index] ?? ''}`, 'usage 10 5', 'end');
  const batches: (readonly TurnEvent[])[] = [];
  const summary = await runTurnInFormat(fixture.turns, {
    request: {
      model: 'auto',
      messages: [{ role: 'user', parts: [{ type: 'text', text: 'Where?' }] }],
      tools: [],
      toolChoice: { type: 'auto' },
      parallelToolCalls: true,
      sampling: {},
      limits: {},
      responseFormat: format,
      reasoning: {},
      extra: {},
    },
    clientId: 'me',
    wantsUsage: true,
    output: {
      isBuffered: false,
      resume: undefined,
      onRoute: () => {},
      write(events) {
        batches.push(events);
        return true;
      },
    },
    signal: new AbortController().signal,
    logger: silentLogger,
  });
  const events = batches.flat();
  const text = events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
  return { summary, events, text, batches, prompts: fixture.upstream.calls.map(({ body }) => body.prompt) };
}

describe('an answer that has to be JSON', () => {
  it('is asked for in the instructions and passed on when it is as asked', async () => {
    const { text, prompts, batches, summary } = await ask(bySchema, ['{"city": "Oslo"}']);
    expect(text).toBe('{"city": "Oslo"}');
    expect(prompts).toHaveLength(1);
    expect(batches).toHaveLength(1);
    expect(summary.error).toBeUndefined();
  });

  it('is sent back once with what is wrong, and the client sees the mended one alone, with the usage of both', async () => {
    const { text, prompts, events, summary } = await ask(bySchema, ['{"town": "Oslo"}', '{"city": "Oslo"}']);
    expect(text).toBe('{"city": "Oslo"}');
    expect(prompts).toHaveLength(2);
    expect(prompts[1]).toMatch(/not the JSON that was asked for: .*city/);
    expect(events.filter(({ type }) => type === 'finish')).toHaveLength(1);
    expect(summary.usage).toMatchObject({ inputTokens: 20, outputTokens: 10 });
  });

  it('is an error when it is wrong twice, and never half an answer', async () => {
    const { text, events, prompts, summary } = await ask({ type: 'json' }, ['Sure!', '[1]', '{}']);
    expect(prompts).toHaveLength(2);
    expect(text).toBe('');
    expect(events.map(({ type }) => type)).toEqual(['error']);
    expect(summary.error).toMatchObject({ code: 'upstream_protocol' });
  });

  it('may be any object when no schema is given', async () => {
    expect((await ask({ type: 'json' }, ['{"any": [1, 2]}'])).text).toBe('{"any": [1, 2]}');
  });
});

it('takes the code fence off that models put around JSON', async () => {
  const { text, prompts } = await ask(bySchema, ['```json {"city": "Oslo"} ```']);
  expect(text).toBe('{"city": "Oslo"}');
  expect(prompts).toHaveLength(1);
});

it('refuses a schema that cannot be checked, by the name of its parameter', () => {
  expect(() => checkSchema({ $ref: '#/nowhere' }, 'response_format.json_schema.schema')).toThrow(AppError);
  expect(() => checkSchema(schema, 'x')).not.toThrow();
});
