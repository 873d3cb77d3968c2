import type { ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { plainTurn } from '../core/testing/plain-turn.ts';
import { openaiChatInbound } from '../protocols/openai-chat/inbound.ts';
import { answerHeads } from './answer-head.ts';
import { createChoicesStream } from './choices-output.ts';
import type { Route } from './routes.ts';
import { beginAfterMs, createStreamOutput } from './turn-output.ts';

const routeOf = (name: string, model: string) =>
  ({ provider: { name, outbound: { capabilities: new Set() } }, model }) as unknown as Route;

/** What was written: the headers, then the text. */
function record() {
  const written: unknown[] = [];
  const response = {
    writeHead: (_status: number, headers: Record<string, string>) =>
      written.push(headers['x-warp2api-model']),
    write: (text: string) => written.push(text),
    end: (text: string) => written.push(text),
    on() {},
  } as unknown as ServerResponse;
  return { written, response };
}

const options = openaiChatInbound.decode({
  model: 'auto',
  messages: [{ role: 'user', content: 'hi' }],
}).options;
const headFor = answerHeads(
  openaiChatInbound,
  { request: { ...plainTurn, messages: [] }, ignored: [], isStream: true, options },
  'r',
  { startedAt: 0, now: () => 0 },
);
const answer = [
  { type: 'text-delta', text: 'hi' },
  { type: 'finish', reason: 'stop' },
] as const;

it('names in a comment the model that answered a stream which had to begin under the name of another', () => {
  const { written, response } = record();
  const output = createStreamOutput(response, openaiChatInbound, options, headFor, () => 0);
  output.onRoute(routeOf('warp', 'big'));
  output.tick(beginAfterMs);
  output.onRoute(routeOf('oz', 'auto'));
  output.write(answer);
  expect(written[0]).toBe('warp/big');
  expect(written.at(-1)).toMatch(/"hi".*\n\n: x-warp2api-model oz\/auto\n\n.*"finish_reason":"stop"/s);
});

it('names the models of all choices, those that were not known at the beginning in a comment', () => {
  const { written, response } = record();
  const { choices: encoders } = openaiChatInbound;
  if (!encoders) throw new Error('the dialect has no choices');
  const { outputs } = createChoicesStream({
    response,
    inbound: openaiChatInbound,
    encoders,
    options,
    count: 3,
    headFor,
    now: () => 0,
  });
  outputs[0]?.onRoute(routeOf('warp', 'big'));
  outputs[2]?.onRoute(routeOf('warp', 'big'));
  outputs[0]?.write(answer);
  outputs[1]?.onRoute(routeOf('oz', 'auto'));
  outputs[1]?.write(answer);
  outputs[2]?.write(answer);
  expect(written[0]).toBe('warp/big');
  expect(written.at(-1)).toContain(': x-warp2api-model warp/big, oz/auto\n\n');
});
