import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import fc from 'fast-check';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { AppError } from '../src/core/errors.ts';
import type { TurnEvent } from '../src/core/turn.ts';
import { encoders } from './support/encoders.ts';
import { anyNeutralAnswer, batched, type NeutralAnswer } from './support/neutral-answers.ts';
import { type Dialect, readStream } from './support/stream-grammar.ts';

const dialects = Object.keys(encoders) as Dialect[];

function encode(dialect: Dialect, batches: readonly (readonly TurnEvent[])[]): string[] {
  const encoder = encoders[dialect]();
  return batches.flatMap((batch, index) =>
    // A stream that is slow is kept alive between any two batches.
    index % 3 === 2 ? [encoder.keepAlive, encoder.encode(batch)] : [encoder.encode(batch)],
  );
}

/** The event that tells a client how the answer ended. */
const isEnd: Record<Dialect, RegExp> = {
  chat: /^data: \{"error"|"finish_reason":"/,
  responses: /^event: (?:response\.(?:completed|incomplete|failed)|error)\n/,
  messages: /^event: (?:message_stop|error)\n/,
  gemini: /^data: (?:\{"error"|.*"finishReason":"|\{"promptFeedback")/,
};

const anySizes = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 4 });

function expected(dialect: Dialect, { text, reasoning, calls, end, sources }: NeutralAnswer) {
  // Calls are whole in Gemini: one that a limit cut is not shown.
  const shown = dialect === 'gemini' ? calls.filter((call) => isJson(call.arguments)) : calls;
  return { text, reasoning, calls: shown, end, sources };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe.each(dialects)('the stream of %s', (dialect) => {
  it('is well-formed and says the same, whatever an upstream says in whatever batches', () => {
    fc.assert(
      fc.property(anyNeutralAnswer, anySizes, (answer, sizes) => {
        const read = readStream(dialect, encode(dialect, batched(answer.events, sizes)).join(''));
        if (answer.end === 'error') {
          expect(read).toMatchObject({ end: 'error', error: { message: 'It "broke"; try again.' } });
          expect(answer.text.startsWith(read.text)).toBe(true);
        } else {
          expect(read).toMatchObject(expected(dialect, answer));
          expect(read.usage).toEqual({ input: 7, output: 3, cached: 2 });
        }
      }),
      { numRuns: 200 },
    );
  });

  it('never passes for a whole answer when it is cut short, after whatever event', () => {
    fc.assert(
      fc.property(anyNeutralAnswer, fc.nat(), (answer, place) => {
        const blocks = encode(dialect, batched(answer.events, []))
          .join('')
          .split(/(?<=\n\n)/);
        const end = blocks.findLastIndex((block) => isEnd[dialect].test(block));
        // What a client holds of an event that did not come whole is nothing.
        const cut = blocks.slice(0, place % (end + 1)).join('');
        expect(() => readStream(dialect, cut)).toThrow(/it ends without/);
      }),
      { numRuns: 100 },
    );
  });

  it('begins with its error alone when nothing was said before', () => {
    const error = new AppError('upstream_timeout', 'Too late.');
    const encoder = encoders[dialect]();
    const body = encoder.keepAlive + encoder.encode([{ type: 'error', error }]);
    expect(readStream(dialect, body)).toMatchObject({
      text: '',
      end: 'error',
      error: { message: 'Too late.' },
    });
  });
});

/** The bytes as they might come from a socket: cut anywhere, also inside a character. */
function response(body: string, cuts: readonly number[]): Response {
  const bytes = Buffer.from(body);
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
  const stream = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) if (chunk.length > 0) controller.enqueue(chunk);
      controller.close();
    },
  });
  return new Response(stream, { headers: { 'content-type': 'text/event-stream' } });
}

/** How the dialect's own client reads a body. */
const judges: Record<Dialect, (answer: () => Response) => Promise<unknown>> = {
  async chat(answer) {
    const client = new OpenAI({ apiKey: 'any', maxRetries: 0, fetch: async () => answer() });
    const final = await client.chat.completions
      .stream({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] })
      .finalChatCompletion();
    const [choice] = final.choices;
    return {
      text: choice?.message.content ?? '',
      calls: (choice?.message.tool_calls ?? []).map(
        (call) => call.type === 'function' && [call.id, call.function.name, call.function.arguments],
      ),
      end: choice?.finish_reason.replace('tool_calls', 'tool-calls'),
    };
  },
  async responses(answer) {
    const client = new OpenAI({ apiKey: 'any', maxRetries: 0, fetch: async () => answer() });
    const final = await client.responses.stream({ model: 'm', input: 'Hi' }).finalResponse();
    const calls = final.output.filter((item) => item.type === 'function_call');
    return {
      text: final.output_text,
      calls: calls.map((call) => [call.call_id, call.name, call.arguments]),
      end: final.status === 'incomplete' ? 'length' : calls.length > 0 ? 'tool-calls' : 'stop',
    };
  },
  async messages(answer) {
    const client = new Anthropic({ apiKey: 'any', maxRetries: 0, fetch: async () => answer() });
    const final = await client.messages
      .stream({ model: 'm', max_tokens: 100, messages: [{ role: 'user', content: 'Hi' }] })
      .finalMessage();
    const ends: Record<string, string> = { end_turn: 'stop', tool_use: 'tool-calls', max_tokens: 'length' };
    return {
      text: final.content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
      calls: final.content.flatMap((block) =>
        block.type === 'tool_use' ? [[block.id, block.name, JSON.stringify(block.input)]] : [],
      ),
      end: ends[final.stop_reason ?? ''],
    };
  },
  async gemini(answer) {
    const httpOptions = { fetch: async () => answer() };
    const client = new GoogleGenAI({ apiKey: 'any', httpOptions });
    const said = { text: '', calls: [] as unknown[], end: '' };
    for await (const chunk of await client.models.generateContentStream({ model: 'm', contents: 'Hi' })) {
      const [candidate] = chunk.candidates ?? [];
      for (const { thought, text, functionCall: call } of candidate?.content?.parts ?? []) {
        if (call) said.calls.push([call.id, call.name, JSON.stringify(call.args)]);
        else if (!thought) said.text += text ?? '';
      }
      said.end = candidate?.finishReason ?? said.end;
    }
    const isCall = said.end === 'STOP' && said.calls.length > 0;
    return { ...said, end: isCall ? 'tool-calls' : said.end.toLowerCase() };
  },
};

describe.each(dialects)("the official client's reading of %s", (dialect) => {
  it('is what the upstream said, in whatever pieces the bytes come, and an error where it broke', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyNeutralAnswer.filter(({ end }) => end !== 'length'),
        fc.array(fc.nat(), { maxLength: 8 }),
        async (answer, cuts) => {
          const body = encode(dialect, batched(answer.events, [])).join('');
          const reading = judges[dialect](() => response(body, cuts));
          if (answer.end === 'error') {
            await expect(reading).rejects.toThrow(/It \\?"broke\\?"; try again/);
            return;
          }
          expect(await reading).toEqual({
            text: answer.text,
            calls: answer.calls.map((call) => [call.id, call.name, call.arguments]),
            end: answer.end,
          });
        },
      ),
      { numRuns: 40 },
    );
  });
});
