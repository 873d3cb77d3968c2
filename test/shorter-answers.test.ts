// Clients that always ask for the same long answer, as Claude Code does, at models that give no such answer.
import type { ServerResponse } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import { describe, expect, it } from 'vitest';
import { shownTurns } from '../src/core/shown-turn.ts';
import { type ScriptedSetup, sendJson, type VendorRequest, withScripted } from './support/scripted-vendor.ts';
import { userTurn } from './support/services.ts';

const refusals = {
  'a model': 'max_tokens is too large: 32000. This model supports at most 16384 completion tokens.',
  'a window':
    "This model's maximum context length is 40960 tokens. However, you requested 48402 tokens (16402 in the messages, 32000 in the completion).",
};

/** A server that takes `most` tokens of an answer at most, and says `refusal` otherwise. */
function withLimit(most: number, refusal: string, more = ''): Promise<ScriptedSetup> {
  return withScripted(answer, { more });
  function answer({ json }: VendorRequest, response: ServerResponse): void {
    const asked = Number(json['max_tokens']);
    if (asked > most) {
      sendJson(response, { error: { message: refusal, type: 'invalid_request_error', param: null } }, 400);
      return;
    }
    const chunk = (choice: object) => `data: ${JSON.stringify({ id: 'c', choices: [choice] })}\n\n`;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(
      `${chunk({ index: 0, delta: { content: 'Hello.' } })}${chunk({ index: 0, delta: {}, finish_reason: 'stop' })}data: [DONE]\n\n`,
    );
  }
}

/** The same of a server that speaks Anthropic's dialect. */
function withMessagesLimit(most: number): Promise<ScriptedSetup> {
  return withScripted(
    ({ json }, response) => {
      if (Number(json['max_tokens']) > most) {
        const message = `max_tokens: ${json['max_tokens']} > ${most}, which is the maximum allowed number of output tokens for m`;
        sendJson(response, { type: 'error', error: { type: 'invalid_request_error', message } }, 400);
        return;
      }
      const event = ([type, fields]: readonly [string, object]) =>
        `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
      const usage = { input_tokens: 1, output_tokens: 1 };
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(
        [
          [
            'message_start',
            { message: { id: 'msg', type: 'message', role: 'assistant', content: [], model: 'm', usage } },
          ],
          ['content_block_start', { index: 0, content_block: { type: 'text', text: '' } }],
          ['content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'Hello.' } }],
          ['content_block_stop', { index: 0 }],
          ['message_delta', { delta: { stop_reason: 'end_turn' }, usage }],
          ['message_stop', {}],
        ]
          .map((one) => event(one as [string, object]))
          .join(''),
      );
    },
    { type: 'anthropic_compatible' },
  );
}

const ask = ({ gatewayUrl }: ScriptedSetup, max_tokens = 32_000, tools: Anthropic.Tool[] = []) =>
  new Anthropic({ baseURL: gatewayUrl, apiKey: 'any', maxRetries: 0 }).messages
    .stream({ ...userTurn('local/m', 'Hi'), max_tokens, tools })
    .finalMessage();
/** Of the latest turn, the oldest attempt first. */
const shownLimits = async ({ gatewayUrl }: ScriptedSetup) => {
  const { turns } = shownTurns.parse(await (await fetch(`${gatewayUrl}/api/turns`)).json());
  return turns[0]?.attempts.map(({ output_limit: limit }) => limit && `${limit.tokens} ${limit.from}`);
};
const sizes = ({ requests }: ScriptedSetup) => requests.flatMap(({ json }) => json['max_tokens'] ?? []);

describe('an answer that is longer than the upstream gives', () => {
  it.each([
    ['a model', 16_384],
    ['a window', 24_558],
  ] as const)('is asked for as long as %s gives', async (what, most) => {
    const setup = await withLimit(most, refusals[what]);
    expect((await ask(setup)).content).toMatchObject([{ type: 'text', text: 'Hello.' }]);
    expect(sizes(setup)).toEqual([32_000, most]);
    const { accounts } = (await setup.pool('/api/accounts')) as unknown as { accounts: { status: string }[] };
    expect(accounts.map(({ status }) => status)).toEqual(['active']);
  });

  it('is asked for no longer at the next turn, where the limit is that of the model', async () => {
    const setup = await withLimit(16_384, refusals['a model']);
    for (const asked of [32_000, 32_000, 20_000, 1_000]) await ask(setup, asked);
    expect(sizes(setup)).toEqual([32_000, 16_384, 16_384, 16_384, 1_000]);
  });

  it('is seen to be shortened in the record of the turn', async () => {
    const setup = await withLimit(16_384, refusals['a model']);
    const shown: unknown[] = [];
    for (const asked of [32_000, 32_000, 1_000]) {
      await ask(setup, asked);
      shown.push(await shownLimits(setup));
    }
    expect(shown).toEqual([[null, '16384 refusal'], ['16384 earlier_refusal'], [null]]);
  });

  it('is never asked for where the configuration file says how long it may be', async () => {
    const more = 'models:\n  "local/*": { max_output: 16384 }\n';
    const setup = await withLimit(16_384, refusals['a model'], more);
    for (const asked of [32_000, 1_000]) await ask(setup, asked);
    expect(sizes(setup)).toEqual([16_384, 1_000]);
    await ask(setup);
    expect(await shownLimits(setup)).toEqual(['16384 configured']);
  });

  it('is asked for no longer where the client named no limit, and the upstream has to be told one', async () => {
    const setup = await withMessagesLimit(4_096);
    for (let turn = 0; turn < 2; turn += 1)
      expect((await setup.chat(userTurn('local/m', 'Hi'))).status).toBe(200);
    expect(sizes(setup)).toEqual([8_192, 4_096, 4_096]);
    expect(await shownLimits(setup)).toEqual(['4096 earlier_refusal']);
  });

  it('is asked for again where only the prompt left no more room', async () => {
    const setup = await withLimit(24_558, refusals['a window']);
    for (let turn = 0; turn < 2; turn += 1) await ask(setup);
    expect(sizes(setup)).toEqual([32_000, 24_558, 32_000, 24_558]);
  });

  it('is asked for again after a refusal that only quoted such words of a client', async () => {
    const quoted = 'max_tokens: less than or equal to 1';
    const setup = await withScripted(({ text, json }, response) => {
      const isBad = text.includes(quoted);
      const message = `Invalid schema for function 'f': In context=('properties', '${quoted}'), it has no type.`;
      if (isBad) sendJson(response, { error: { message, type: 'invalid_request_error', param: null } }, 400);
      else sendJson(response, { error: { message: `${json['max_tokens']} it is`, type: 'other' } }, 422);
    });
    const input_schema = { type: 'object' as const, properties: { [quoted]: {} } };
    await expect(ask(setup, 32_000, [{ name: 'f', input_schema }])).rejects.toMatchObject({ status: 400 });
    await expect(ask(setup)).rejects.toMatchObject({ message: expect.stringContaining('32000 it is') });
  });

  it('is refused where that does not help either, and where a client is relayed', async () => {
    const setup = await withLimit(100, refusals['a model']);
    await expect(ask(setup)).rejects.toMatchObject({ status: 400 });
    expect(sizes(setup)).toEqual([32_000, 16_384]);
    const relayed = await setup.chat({ ...userTurn('local/m', 'Hi'), max_tokens: 32_000 });
    expect(relayed.status).toBe(400);
    expect(sizes(setup)).toEqual([32_000, 16_384, 32_000]);
  });
});
