import type { ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { AppError } from '../core/errors.ts';
import type { TurnEvent } from '../core/turn.ts';
import { openaiChatInbound } from '../protocols/openai-chat/inbound.ts';
import { createChoicesStream, createWholeChoices } from './choices-output.ts';

/** As much of a response as an output touches. */
function createResponse() {
  const written: string[] = [];
  const onDrain: (() => void)[] = [];
  const response = {
    status: 0,
    headers: {} as Record<string, unknown>,
    written,
    drain() {
      for (const run of onDrain) run();
    },
    isFull: false,
    headersSent: false,
    destroyed: false,
    writableNeedDrain: false,
    writableEnded: false,
    on: (_name: string, run: () => void) => onDrain.push(run),
    writeHead(status: number, headers: Record<string, unknown>) {
      Object.assign(response, { status, headers, headersSent: true });
    },
    write(text: string) {
      written.push(text);
      return !response.isFull;
    },
    end(text: string | Buffer) {
      written.push(String(text));
      response.writableEnded = true;
    },
  };
  return response;
}

const encoders = openaiChatInbound.choices ?? expect.unreachable();

function answerOf(count: number, create = createChoicesStream) {
  const response = createResponse();
  const output = create({
    response: response as unknown as ServerResponse,
    inbound: openaiChatInbound,
    encoders,
    options: { includeUsage: true, customTools: new Set<string>() },
    count,
    headFor: () => ({
      identity: { id: 'chatcmpl-1', created: 1, model: 'm', now: () => 0 },
      headers: { 'x-request-id': 'r' },
    }),
    now: () => 0,
  });
  const write = (choice: number, ...events: TurnEvent[]) => output.outputs[choice]?.write(events);
  return { response, output, write, text: () => response.written.join('') };
}

const say = (text: string): TurnEvent => ({ type: 'text-delta', text });
const usage: TurnEvent = {
  type: 'usage',
  usage: { inputTokens: 10, outputTokens: 5, credits: 0.5, costCents: 0.25 },
};
const stop: TurnEvent = { type: 'finish', reason: 'stop' };
const broken: TurnEvent = { type: 'error', error: new AppError('upstream_unavailable', 'It broke.') };

it('mixes the chunks of all choices, then the usage of all and one end', () => {
  const { response, write, text } = answerOf(2);
  write(1, say('b'));
  write(0, say('a'), usage, stop);
  expect(text()).not.toContain('[DONE]');
  write(1, usage, { type: 'finish', reason: 'length' });
  const chunks = text()
    .match(/^data: \{.*$/gm)
    ?.map((line) => JSON.parse(line.slice(6)));
  const told = chunks?.flatMap(({ choices }) => choices) as {
    index: number;
    delta: { content?: string };
    finish_reason: string | null;
  }[];
  const said = (index: number) =>
    told.filter((choice) => choice.index === index).map(({ delta }) => delta.content);
  expect(said(0).join('')).toBe('a');
  expect(said(1).join('')).toBe('b');
  expect(told.filter(({ finish_reason: reason }) => reason !== null)).toMatchObject([
    { index: 0, finish_reason: 'stop' },
    { index: 1, finish_reason: 'length' },
  ]);
  expect(chunks?.filter((chunk) => chunk.usage)).toMatchObject([
    { choices: [], usage: { prompt_tokens: 20, completion_tokens: 10 } },
  ]);
  expect(text()).toContain(': x-warp2api-credits 1\n\n');
  expect(text()).toContain(': x-warp2api-cost-cents 0.5\n\n');
  expect(text().match(/\[DONE\]/g)).toHaveLength(1);
  expect(response.writableEnded).toBe(true);
});

it('ends a stream with the first error, says nothing after it and ends the others', () => {
  const { output, write, text } = answerOf(3);
  write(0, say('a'), stop);
  write(1, broken);
  write(2, say('late'), stop);
  write(1, broken);
  expect(text().match(/"error"/g)).toHaveLength(1);
  expect(text()).not.toMatch(/late|DONE/);
  expect(output.signal.reason).toMatchObject({ code: 'cancelled' });
});

it('answers an error before the first content with its status', () => {
  const { response, write } = answerOf(2);
  write(1, broken);
  expect(response.status).toBe(502);
});

it('resumes every choice once the reader has caught up', () => {
  const { response, output, write } = answerOf(2);
  const resumed: number[] = [];
  for (const [index, one] of output.outputs.entries()) one.resume = () => resumed.push(index);
  response.isFull = true;
  expect(write(0, say('a'))).toBe(false);
  response.drain();
  expect(resumed).toEqual([0, 1]);
});

it('answers whole once every choice is whole, or with the first error', () => {
  const good = answerOf(2, createWholeChoices);
  good.write(1, say('b'), usage, stop);
  expect(good.text()).toBe('');
  good.write(0, say('a'), usage, stop);
  expect(JSON.parse(good.text())).toMatchObject({
    choices: [
      { index: 0, message: { content: 'a' } },
      { index: 1, message: { content: 'b' } },
    ],
    usage: { total_tokens: 30 },
  });
  expect(good.response.headers['x-warp2api-credits']).toBe('1');
  expect(good.response.headers['x-warp2api-cost-cents']).toBe('0.5');

  const bad = answerOf(2, createWholeChoices);
  bad.write(0, say('a'), stop);
  bad.write(1, broken);
  expect(bad.response.status).toBe(502);
  expect(bad.output.signal.aborted).toBe(true);
});
