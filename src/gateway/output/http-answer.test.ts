import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { plainTurn } from '../../core/testing/plain-turn.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { openaiChatInbound } from '../../protocols/openai-chat/inbound.ts';
import { createManualClock } from '../testing/manual-clock.ts';
import type { Attempt } from '../turn/attempt.ts';
import { RunningTurns } from '../turn/running-turns.ts';
import { AnswerHead } from './answer-head.ts';
import { beginAfterMs, StreamedAnswer, WholeAnswer } from './http-answer.ts';

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
    on() {},
    once: (name: string, run: () => void) => name === 'drain' && onDrain.push(run),
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

function answerOf(
  count: number,
  Answer: typeof StreamedAnswer | typeof WholeAnswer = StreamedAnswer,
  response = createResponse(),
) {
  const { options } = openaiChatInbound.decode({
    model: 'm',
    messages: [{ role: 'user', content: 'hi' }],
    stream: true,
    stream_options: { include_usage: true },
  });
  const decoded = {
    request: { ...plainTurn, messages: [] },
    isStream: true,
    ignored: [],
    options,
    choices: count,
  };
  const answer = new Answer({
    running: new RunningTurns(createManualClock()),
    clientId: 'me',
    response: response as unknown as ServerResponse,
    inbound: openaiChatInbound,
    decoded,
    head: new AnswerHead(openaiChatInbound, { decoded, requestId: 'r' }, () => 0),
    now: () => 0,
  });
  /** As a turn does: what ends it comes with all that was said before. */
  const write = (choice: number, ...events: TurnEvent[]) => {
    const output = answer.choices[choice];
    const last = events.at(-1);
    const text = events.map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
    const usage = events.find((event) => event.type === 'usage')?.usage;
    if (last?.type === 'error') return output?.fail(last.error, events);
    if (last?.type !== 'finish') return output?.write(events);
    const whole = { text, reasoning: '', toolCalls: [], usage, finishReason: last.reason };
    return output?.finish(whole, events);
  };
  const begin = (choice: number, name: string, model: string) => {
    const route = { provider: { name, outbound: { capabilities: new Set() } }, model };
    answer.choices[choice]?.begin({
      route,
      handling: { ignored: [], taken: [] },
    } as unknown as Attempt);
  };
  return { response, answer, write, begin, text: () => response.written.join('') };
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
  const { answer, write, text } = answerOf(3);
  write(0, say('a'), stop);
  write(1, broken);
  write(2, say('late'), stop);
  write(1, broken);
  expect(text().match(/"error"/g)).toHaveLength(1);
  expect(text()).not.toMatch(/late|DONE/);
  expect(answer.signal.reason).toMatchObject({ code: 'cancelled' });
});

it('answers an error before the first content with its status', () => {
  const { response, write } = answerOf(2);
  write(1, broken);
  expect(response.status).toBe(502);
});

it('lets every choice go on once the reader has caught up', async () => {
  const { response, write } = answerOf(2);
  response.isFull = true;
  const waiting = [write(0, say('a')), write(1, say('b'))];
  expect(waiting[0]).toBeInstanceOf(Promise);
  response.drain();
  await Promise.all(waiting);
  response.isFull = false;
  expect(write(0, say('c'))).toBeUndefined();
});

it('answers whole once every choice is whole, or with the first error', () => {
  const good = answerOf(2, WholeAnswer);
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

  const bad = answerOf(2, WholeAnswer);
  bad.write(0, say('a'), stop);
  bad.write(1, broken);
  expect(bad.response.status).toBe(502);
  expect(bad.answer.signal.aborted).toBe(true);
});

it('names in a comment the model that answered a stream which had to begin under the name of another', () => {
  const { response, answer, begin, write, text } = answerOf(1);
  begin(0, 'warp', 'big');
  answer.tick(beginAfterMs);
  begin(0, 'oz', 'auto');
  write(0, say('hi'), stop);
  expect(response.headers['x-warp2api-model']).toBe('warp/big');
  expect(text()).toMatch(/"hi".*\n\n: x-warp2api-model oz\/auto\n\n.*"finish_reason":"stop"/s);
});

it('names the models of all choices, those that were not known at the beginning in a comment', () => {
  const { response, begin, write, text } = answerOf(3);
  begin(0, 'warp', 'big');
  begin(2, 'warp', 'big');
  write(0, say('hi'), stop);
  begin(1, 'oz', 'auto');
  write(1, say('hi'), stop);
  write(2, say('hi'), stop);
  expect(response.headers['x-warp2api-model']).toBe('warp/big');
  expect(text()).toContain(': x-warp2api-model warp/big, oz/auto\n\n');
});

it.each(['1.1', '1.0'])('gives a client of HTTP/%s what it can read, whatever is in it', async (version) => {
  const said = ['Grüße', ' 🎈 ', 'x'.repeat(200_000)];
  const server = createServer((_request, response) => {
    const { write } = answerOf(1, StreamedAnswer, response as unknown as ReturnType<typeof createResponse>);
    for (const text of said) write(0, say(text));
    setImmediate(() => write(0, say('end'), usage, stop));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  socket.write(`GET / HTTP/${version}\r\nhost: a\r\nconnection: close\r\n\r\n`);
  const answer = await textOf(socket);
  const { body } = await fetch(`http://127.0.0.1:${port}/`);
  server.close();
  expect(/^transfer-encoding: chunked/im.test(answer)).toBe(version === '1.1');
  const whole = await textOf(body as unknown as AsyncIterable<Uint8Array>);
  for (const text of [...said, 'end']) expect(whole).toContain(JSON.stringify(text));
  expect(whole.endsWith('data: [DONE]\n\n')).toBe(true);
  const withoutId = (text: string) => text.replaceAll(/chatcmpl-\w+/g, '');
  if (version === '1.0') expect(withoutId(answer.split('\r\n\r\n')[1] ?? '')).toBe(withoutId(whole));
});
