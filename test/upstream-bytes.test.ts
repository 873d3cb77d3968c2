import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Sandbox, scenarios, startSandbox } from '../sandbox/index.ts';
import { send } from '../sandbox/raw-client.ts';
import type { TurnDecoder } from '../src/core/protocol.ts';
import { plainTurn } from '../src/core/testing/plain-turn.ts';
import type { TurnEvent, TurnRequest } from '../src/core/turn.ts';
import { createWarpOutbound } from '../src/protocols/warp/outbound.ts';
import { encoders } from './support/encoders.ts';
import { type Dialect, readStream } from './support/stream-grammar.ts';

/** Those that take their time, say megabytes, or send no stream. */
const left = new Set([
  'slow',
  'drip',
  'paced',
  'huge',
  'stall',
  'silent',
  'hang',
  'html',
  'out-of-credits',
  'lingering',
  'endless',
]);
/** Answers without a stream, and faults of the connection and not of its bytes. */
const bytesless = /^(\d{3}|portal|goaway|reset-|refused-stream|session-|frozen|stale)/;
const streamed = scenarios.map(({ name }) => name).filter((name) => !left.has(name) && !bytesless.test(name));

const request: TurnRequest = {
  ...plainTurn,
  model: '',
  messages: [{ role: 'user', parts: [{ type: 'text', text: 'Zażółć gęślą 👩‍👩‍👧 jaźń' }] }],
  tools: [{ name: 'get_weather', parameters: { type: 'object', properties: {} } }],
};

let sandbox: Sandbox;
const recorded = new Map<string, Buffer>();
beforeAll(async () => {
  sandbox = await startSandbox();
  for (const name of [...streamed, 'calls']) {
    const { body } = await send(sandbox.url, Buffer.from(open(name).request.body));
    recorded.set(name, Buffer.from(body));
  }
});
afterAll(() => sandbox.close());

function open(name: string) {
  const text = 'call get_weather {"city": "Oslo"}\ncall get_weather {"city": "Århus"}';
  const isCalls = name === 'calls';
  return createWarpOutbound().open({
    request: {
      ...request,
      model: isCalls || name === 'plain' ? 'sandbox' : `sandbox-${name}`,
      ...(isCalls ? { messages: [{ role: 'user', parts: [{ type: 'text', text }] }] } : {}),
    },
  });
}

function bytesOf(name: string): Buffer {
  const bytes = recorded.get(name);
  if (bytes === undefined) throw new Error(`${name} was not recorded.`);
  return bytes;
}

function read(decoder: TurnDecoder, chunks: readonly Uint8Array[]): (readonly TurnEvent[])[] {
  return [...chunks.map((chunk) => decoder.push(chunk)), decoder.end()];
}

/** The events as plain data, whatever reads they came in. */
function plain(batches: readonly (readonly TurnEvent[])[]): unknown[] {
  return batches
    .flat()
    .map((event) => (event.type === 'error' ? [event.error.code, event.error.message] : event));
}

function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [
    0,
    ...places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b),
    bytes.length,
  ];
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}

describe.each([...streamed, 'calls'])('the bytes of "%s"', (name) => {
  it('mean the same wherever they are cut into reads, also one by one', () => {
    const bytes = bytesOf(name);
    const whole = plain(read(open(name).decoder, [bytes]));
    const single = Array.from(bytes.subarray(0, 20_000), (byte) => Buffer.from([byte]));
    expect(plain(read(open(name).decoder, [...single, bytes.subarray(20_000)]))).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 12 }), (places) => {
        expect(plain(read(open(name).decoder, cutAt(bytes, places)))).toEqual(whole);
      }),
      { numRuns: 15 },
    );
  });

  it('are an error when they stop early, and never a good end in any dialect', () => {
    const bytes = bytesOf(name);
    const lastEvent = bytes.subarray(0, bytes.length - 4).lastIndexOf('data:');
    fc.assert(
      fc.property(fc.nat(), fc.array(fc.nat(), { maxLength: 4 }), (length, places) => {
        // The end mark is in the last event; without its last bytes it has not come.
        const short = bytes.subarray(0, length % Math.max(1, lastEvent));
        const batches = read(open(name).decoder, cutAt(short, places));
        const ends = batches.flat().filter(({ type }) => type === 'finish' || type === 'error');
        expect(ends.map(({ type }) => type)).toEqual(['error']);
        expect(batches.flat().at(-1)).toBe(ends[0]);
        for (const dialect of Object.keys(encoders) as Dialect[]) {
          const encoder = encoders[dialect]();
          const body = batches.map((batch) => encoder.encode(batch)).join('');
          expect(readStream(dialect, body).end).toBe('error');
        }
      }),
      { numRuns: 10 },
    );
  });
});

/** How one event may be written down without meaning anything else. */
const anyFraming = fc.record({
  lineEnd: fc.constantFrom('\n', '\r\n', '\r'),
  before: fc.constantFrom('', ': a comment', 'event: message', 'id: 1', 'retry: 3', ':', 'unheard-of: x'),
  hasSpace: fc.boolean(),
  isQuoted: fc.boolean(),
});

it('means the same in every framing that server-sent events allow, cut anywhere', () => {
  const payloads = bytesOf('unicode')
    .toString()
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => line.slice(5).trim());
  const whole = plain(read(open('unicode').decoder, [bytesOf('unicode')]));
  expect(whole.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
  fc.assert(
    fc.property(
      fc.array(anyFraming, { minLength: 1, maxLength: 5 }),
      fc.boolean(),
      // Also inside the mark and the first line.
      fc.array(fc.oneof(fc.nat({ max: 9 }), fc.nat()), { maxLength: 12 }),
      (framings, hasMark, places) => {
        const body = payloads
          .map((payload, index) => {
            const framing = framings[index % framings.length];
            if (framing === undefined) return '';
            const { lineEnd, before, hasSpace, isQuoted } = framing;
            const data = `data:${hasSpace ? ' ' : ''}${isQuoted ? `"${payload}"` : payload}`;
            return [...(before === '' ? [] : [before]), data, '', ''].join(lineEnd);
          })
          .join('');
        const bytes = Buffer.from(hasMark ? `\ufeff${body}` : body);
        expect(plain(read(open('unicode').decoder, cutAt(bytes, places)))).toEqual(whole);
      },
    ),
    { numRuns: 100 },
  );
});
