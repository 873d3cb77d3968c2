// What a client sees of each way an upstream can behave, and the tests that it does, over any transport.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { SandboxOptions } from '../../sandbox/index.ts';
import { findFreePort } from '../../src/core/testing/free-port.ts';
import { startTestServices, type TestServices, userTurn } from './services.ts';

const whole = 'You said: Hello';
const part = 'The first part of an answer';

/**
 * What a client sees of each way an upstream can behave: either the text and the finish reason of a good end, or the
 * text shown before it broke (streams only; a whole answer then is the error alone) with status and code of the error.
 */
export const table: Record<
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
  'undeclared-tool': { text: '', finish: 'tool_calls' },
  'builtin-tools': { text: '', finish: 'tool_calls' },
  'undeclared-mcp-tool': { text: '', finish: 'tool_calls' },
  charges: { text: whole, finish: 'stop' },
  'conversation-usage': { text: whole, finish: 'stop' },
  'no-reason': { text: whole, finish: 'stop' },
  'no-reason-empty': { error: [502, 'upstream_unavailable'] },
  'reason-14': { error: [429, 'insufficient_quota'] },
  'reason-14-late': { after: part, error: [429, 'insufficient_quota'] },
  'reason-15': { error: [502, 'upstream_unavailable'] },
  'reason-40': { after: part, error: [502, 'upstream_unavailable'] },
  'unknown-end': { text: whole, finish: 'stop' },
  'broken-charges': { text: whole, finish: 'stop' },
  'broken-token-usage': { text: whole, finish: 'stop' },
  'broken-usage': { text: whole, finish: 'stop' },
  'broken-types': { text: whole, finish: 'stop' },
  'broken-messages': { text: whole, finish: 'stop' },
  'internal-context-length': { error: [400, 'context_length_exceeded'] },
  'internal-context-window': { error: [400, 'context_length_exceeded'] },
  'internal-pdf-pages': { error: [400, null] },
  'internal-schema': { error: [400, null] },
  'internal-vendor-403': { error: [503, 'model_unavailable'] },
  'internal-vendor-429': { error: [503, 'model_unavailable'] },
  'internal-vendor-529': { error: [503, 'model_unavailable'] },
  'internal-vendor-500': { error: [503, 'model_unavailable'] },
  'internal-credits': { error: [503, 'model_unavailable'] },
  '400-model': { error: [404, 'model_not_found'] },
  '400-planning-model': { error: [404, 'model_not_found'] },
  '400-no-model': { error: [404, 'model_not_found'] },
  '403-page': { error: [502, 'upstream_unavailable'] },
  '403-empty': { error: [502, 'upstream_unavailable'] },
  '403-blocked': { error: [403, 'upstream_refused'] },
  portal: { error: [502, 'upstream_unavailable'] },
  '429-quota': { error: [429, 'insufficient_quota'] },
  '429-requests': { error: [429, 'insufficient_quota'] },
  '429-edge': { error: [429, 'rate_limit_exceeded'] },
  '429-json': { error: [429, 'rate_limit_exceeded'] },
  '429-hours': { error: [429, 'rate_limit_exceeded'] },
  '429-date': { error: [429, 'rate_limit_exceeded'] },
  '503-hours': { error: [502, 'upstream_unavailable'] },
  goaway: { text: whole, finish: 'stop' },
  'goaway-below': { after: part, error: [502, 'upstream_unavailable'] },
  'goaway-below-early': { error: [502, 'upstream_unavailable'] },
  'reset-no-error': { after: part, error: [502, 'upstream_unavailable'] },
  'reset-cancel': { after: part, error: [502, 'upstream_unavailable'] },
  'reset-internal': { after: part, error: [502, 'upstream_unavailable'] },
  'reset-calm': { after: part, error: [502, 'upstream_unavailable'] },
  'reset-early': { error: [502, 'upstream_unavailable'] },
  'refused-stream': { error: [502, 'upstream_unavailable'] },
  'session-destroyed': { after: part, error: [502, 'upstream_unavailable'] },
  'session-destroyed-early': { error: [502, 'upstream_unavailable'] },
  frozen: { after: part, error: [504, 'upstream_timeout'] },
  'frozen-early': { error: [504, 'upstream_timeout'] },
  stale: { text: whole, finish: 'stop' },
};

export function hugeText(): string {
  const lines = Array.from({ length: 131_072 }, (_, index) => `line ${index} `.padEnd(63, '.'));
  return `${lines.join('\n')}\n`;
}

/** Good ends that do not tell what the turn took. */
const untold = new Set([
  'no-usage',
  'refresh-models',
  'conversation-usage',
  'no-reason',
  'unknown-end',
  'broken-charges',
  'broken-token-usage',
  'broken-usage',
  'broken-types',
  'broken-messages',
]);

/** What meets every turn on the same connection, or must not wait for others: these run alone. */
const lonely = new Set([
  'goaway',
  'goaway-below',
  'goaway-below-early',
  'session-destroyed',
  'session-destroyed-early',
  'frozen',
  'frozen-early',
  'stale',
  // A round of the event loop for each byte.
  'split',
  // Megabytes, for which the event loop does nothing else.
  'huge',
  'endless',
]);

const modelOf = (name: string) => (name === 'plain' ? 'sandbox' : `sandbox-${name}`);

interface Chunk {
  choices?: { delta: { content?: string }; finish_reason: string | null }[];
  error?: { message: string; type: string; code: string | null };
}

/** A stream taken apart: its text, how it ended, and everything after that end. */
export function readStream(body: string) {
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

/** Services for the rows of the table in one file, with Warp played as told. */
export function useScenarioServices(played?: SandboxOptions) {
  let crowd: TestServices;
  let alone: TestServices;
  beforeAll(async () => {
    // Ten turns at a time: on a busy machine a good one takes seconds until its first event.
    const limits = { UPSTREAM_FIRST_EVENT_SECONDS: '10', UPSTREAM_IDLE_SECONDS: '8' };
    crowd = await startTestServices(limits, undefined, played);
    const soon = { UPSTREAM_FIRST_EVENT_SECONDS: '6', UPSTREAM_IDLE_SECONDS: '5' };
    // It stops listening and begins again, on a port that nobody else gets meanwhile.
    alone = await startTestServices(soon, undefined, { ...played, port: await findFreePort() });
  });
  afterAll(async () => {
    await alone.close();
    await crowd.close();
  });
  return { crowd: () => crowd, alone: () => alone };
}

/** The rows of the table. Some run alone, on other services. */
export function testScenarios(crowd: () => TestServices, alone: () => TestServices): void {
  const rows = Object.entries(table);
  describe.concurrent('together', () =>
    testRows(
      rows.filter(([name]) => !lonely.has(name)),
      crowd,
    ));
  describe('alone', () => {
    // The connection of the row before may be dead without being closed.
    beforeEach(async () => {
      await alone().upstream.transport.stopListening();
      await alone().upstream.transport.startListening();
    });
    testRows(
      rows.filter(([name]) => lonely.has(name)),
      alone,
    );
  });
}

function testRows(
  rows: readonly (readonly [string, (typeof table)[string]])[],
  given: () => TestServices,
): void {
  describe.each(rows)('an upstream that does "%s"', (name, seen) => {
    let before: Promise<unknown> = Promise.resolve();

    /**
     * Each test has its own account, which may use this model only. Where the upstream fails, one waits for the other, so
     * that neither gets the account that the other's failure put to rest.
     */
    function withAccount(run: () => Promise<void>): Promise<void> {
      const running = before.then(() => withOwnAccount(given(), name, run));
      if ('error' in seen) before = running.catch(() => {});
      return running;
    }

    test('streams up to exactly one end', async () => {
      await withAccount(async () => {
        const answer = await given().chat(userTurn(modelOf(name), 'Hello', { stream: true }));
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
      await withAccount(async () => {
        const answer = await given().chat(userTurn(modelOf(name), 'Hello'));
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
          expect(answer.headers.get('x-warp2api-usage')).toBe(untold.has(name) ? 'estimated' : null);
        } else {
          expect([answer.status, body.error.code]).toEqual(seen.error);
        }
      });
    });
  });
}

async function withOwnAccount(services: TestServices, name: string, run: () => Promise<void>): Promise<void> {
  const id = await services.addAccount(`wk-${randomUUID()}`, { models: [modelOf(name)] });
  try {
    await run();
  } finally {
    await services.pool(`/api/accounts/${id}`, undefined, 'DELETE');
  }
}
