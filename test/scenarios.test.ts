import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scenarios } from '../sandbox/index.ts';
import { eventually, startTestServices, type TestServices, userTurn } from './support/services.ts';

const whole = 'You said: Hello';
const part = 'The first part of an answer';

/**
 * What a client sees of each way an upstream can behave: either the text and the finish reason of a good end, or the
 * text shown before it broke (streams only; a whole answer then is the error alone) with status and code of the error.
 */
const table: Record<
  string,
  { text: string | RegExp; finish: string } | { error: [number, string | null]; after?: string }
> = {
  plain: { text: whole, finish: 'stop' },
  reasoning: { text: whole, finish: 'stop' },
  'two-messages': { text: `First message.\n\n${whole}`, finish: 'stop' },
  update: { text: whole, finish: 'stop' },
  unicode: { text: new RegExp(`${whole}$`), finish: 'stop' },
  obedient: { text: whole, finish: 'stop' },
  eager: { text: whole, finish: 'stop' },
  nothing: { text: '', finish: 'stop' },
  lingering: { text: whole, finish: 'stop' },
  echo: { text: 'Hello', finish: 'stop' },
  transaction: { text: new RegExp(`${whole}$`), finish: 'stop' },
  subtask: { text: whole, finish: 'stop' },
  'subtask-open': { text: whole, finish: 'stop' },
  extras: { text: whole, finish: 'stop' },
  'unknown-actions': { text: whole, finish: 'stop' },
  'no-usage': { text: whole, finish: 'stop' },
  move: { text: `Before the move.\n\n${whole}`, finish: 'stop' },
  'refresh-models': { text: whole, finish: 'stop' },
  unquoted: { text: whole, finish: 'stop' },
  quoted: { text: whole, finish: 'stop' },
  crlf: { text: whole, finish: 'stop' },
  comments: { text: whole, finish: 'stop' },
  split: { text: whole, finish: 'stop' },
  multiline: { text: whole, finish: 'stop' },
  slow: { text: whole, finish: 'stop' },
  drip: { text: /^tick 1 .*tick 50 $/, finish: 'stop' },
  burst: { text: /^(token-\d{4} ){200}$/, finish: 'stop' },
  paced: { text: /^(token-\d{4} ){200}$/, finish: 'stop' },
  huge: { text: hugeText(), finish: 'stop' },
  'max-tokens': { text: part, finish: 'length' },
  error: { after: part, error: [502, 'upstream_unavailable'] },
  'error-early': { error: [502, 'upstream_unavailable'] },
  other: { error: [502, 'upstream_unavailable'] },
  unavailable: { error: [503, 'model_unavailable'] },
  quota: { error: [429, 'insufficient_quota'] },
  'quota-late': { after: part, error: [429, 'insufficient_quota'] },
  context: { error: [400, 'context_length_exceeded'] },
  'invalid-key': { error: [502, 'upstream_unauthorized'] },
  'undeclared-tool': { text: '', finish: 'tool_calls' },
  cut: { after: part, error: [502, 'upstream_unavailable'] },
  'cut-early': { error: [502, 'upstream_unavailable'] },
  eof: { after: part, error: [502, 'upstream_protocol'] },
  'eof-early': { error: [502, 'upstream_protocol'] },
  empty: { error: [502, 'upstream_protocol'] },
  endless: { after: part, error: [502, 'upstream_protocol'] },
  garbage: { after: part, error: [502, 'upstream_protocol'] },
  'garbage-base64': { after: part, error: [502, 'upstream_protocol'] },
  html: { error: [502, 'upstream_unavailable'] },
  stall: { after: part, error: [504, 'upstream_timeout'] },
  silent: { error: [504, 'upstream_timeout'] },
  hang: { error: [504, 'upstream_timeout'] },
  '429': { error: [429, 'rate_limit_exceeded'] },
  'out-of-credits': { error: [429, 'insufficient_quota'] },
  '400': { error: [400, null] },
  '404': { error: [400, null] },
  '401': { error: [502, 'upstream_unauthorized'] },
  '402': { error: [403, 'upstream_refused'] },
  '403': { error: [403, 'upstream_refused'] },
  '500': { error: [502, 'upstream_unavailable'] },
  '503': { error: [502, 'upstream_unavailable'] },
};

function hugeText(): string {
  const lines = Array.from({ length: 131_072 }, (_, index) => `line ${index} `.padEnd(63, '.'));
  return `${lines.join('\n')}\n`;
}

const modelOf = (name: string) => (name === 'plain' ? 'sandbox' : `sandbox-${name}`);

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices({ UPSTREAM_FIRST_EVENT_SECONDS: '5', UPSTREAM_IDLE_SECONDS: '2' });
});
afterAll(() => services.close());

interface Chunk {
  choices?: { delta: { content?: string }; finish_reason: string | null }[];
  error?: { message: string; type: string; code: string | null };
}

/** A stream taken apart: its text, how it ended, and everything after that end. */
function readStream(body: string) {
  const data = [...body.matchAll(/^data: (.*)$/gm)].map((match) => match[1] ?? '');
  const chunks = data.filter((line) => line !== '[DONE]').map((line) => JSON.parse(line) as Chunk);
  const finishes = chunks.flatMap(
    (chunk) => chunk.choices?.flatMap((choice) => choice.finish_reason ?? []) ?? [],
  );
  return {
    text: chunks.map((chunk) => chunk.choices?.[0]?.delta.content ?? '').join(''),
    finishes,
    errors: chunks.flatMap((chunk) => chunk.error ?? []),
    isDone: data.at(-1) === '[DONE]',
  };
}

const inLine = new Map<string, Promise<unknown>>();

/**
 * An account of its own for each, good for this model only, and one after another for one model: no failure rests
 * another's account.
 */
function withOwnAccount<Value>(name: string, run: () => Promise<Value>): Promise<Value> {
  const running = (inLine.get(name) ?? Promise.resolve()).then(() => onItsOwn(name, run));
  inLine.set(
    name,
    running.catch(() => {}),
  );
  return running;
}

async function onItsOwn<Value>(name: string, run: () => Promise<Value>): Promise<Value> {
  const id = await services.addAccount(`wk-${randomUUID()}`, { models: [modelOf(name)] });
  try {
    return await run();
  } finally {
    await services.pool(`/api/accounts/${id}`, undefined, 'DELETE');
  }
}

test('the table names every scenario of the sandbox', () => {
  expect(Object.keys(table).sort()).toEqual(scenarios.map((scenario) => scenario.name).sort());
});

describe.concurrent.each(Object.entries(table))('an upstream that does "%s"', (name, seen) => {
  test('streams up to exactly one end', async () => {
    await withOwnAccount(name, async () => {
      const answer = await services.chat(userTurn(modelOf(name), 'Hello', { stream: true }));
      expect(answer.headers.get('x-request-id')).toMatch(/.+/);
      const body = await answer.text();
      if ('finish' in seen) {
        const stream = readStream(body);
        expect(answer.headers.get('content-type')).toMatch(/^text\/event-stream/);
        expect(stream).toMatchObject({ finishes: [seen.finish], errors: [], isDone: true });
        if (typeof seen.text === 'string') expect(stream.text).toBe(seen.text);
        else expect(stream.text).toMatch(seen.text);
      } else if (seen.after === undefined) {
        expect([answer.status, JSON.parse(body).error.code]).toEqual(seen.error);
        expect(JSON.parse(body).error).toHaveProperty('param');
      } else if (answer.status === 200) {
        const stream = readStream(body);
        expect(seen.after.startsWith(stream.text) && stream.text !== '').toBe(true);
        expect(stream).toMatchObject({ finishes: [], errors: [{ code: seen.error[1] }], isDone: false });
      } else {
        // The break came in one read with the first text: nothing had been shown yet.
        expect([answer.status, JSON.parse(body).error.code]).toEqual(seen.error);
      }
    });
  });

  test('answers whole or with one clean error', async () => {
    await withOwnAccount(name, async () => {
      const answer = await services.chat(userTurn(modelOf(name), 'Hello'));
      const body = (await answer.json()) as {
        choices: { message: { content: string | null }; finish_reason: string }[];
        error: { code: string | null };
      };
      if ('finish' in seen) {
        expect(answer.status).toBe(200);
        expect(body.choices[0]?.finish_reason).toBe(seen.finish);
        // A call without a text has none, and not an empty one.
        const text = body.choices[0]?.message.content ?? '';
        if (typeof seen.text === 'string') expect(text).toBe(seen.text);
        else expect(text).toMatch(seen.text);
        expect(answer.headers.get('x-warp2api-usage')).toBe(
          ['no-usage', 'refresh-models'].includes(name) ? 'estimated' : null,
        );
      } else {
        expect([answer.status, body.error.code]).toEqual(seen.error);
      }
    });
  });
});

test('a client that does not read stops the upstream, and loses nothing when it reads on', async () => {
  // Enough answers of 8 MiB that the kernel's own buffers cannot hold them.
  const count = 24;
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
