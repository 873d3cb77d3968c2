/**
 * What reading one event of an answer costs, step by step: the pieces alone, then the whole decoder with and without
 * its shortcut for appends, then with the encoder behind it. `node bench/decode.ts`; no network, under a minute.
 */
import { base64url, frame } from '../sandbox/frames.ts';
import { encodeEvent, rawField } from '../sandbox/schema.ts';
import type { ResponseEvent } from '../sandbox/wire.ts';
import type { TurnEvent } from '../src/core/turn.ts';
import { openaiChatInbound } from '../src/protocols/openai-chat/inbound.ts';
import { decodePayload, WarpDecoder } from '../src/protocols/warp/decode-stream.ts';
import { ResponseEvent as ResponseEventSchema } from '../src/protocols/warp/schema.ts';
import { readAppend, readMessage, type StringAppend } from '../src/protocols/warp/wire-message.ts';
import { show, spreadOf, table } from './figures.ts';

const chunks = 200;
const rounds = 15;
const roundMs = 150;

const taskId = 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6';
const messageId = '0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d';
const text = (index: number) => `token-${String(index).padStart(4, '0')} `;

const opening: ResponseEvent[] = [
  { init: { conversationId: 'conversation', requestId: 'request' } },
  { clientActions: { actions: [{ createTask: { task: { id: taskId } } }] } },
  {
    clientActions: {
      actions: [{ addMessagesToTask: { taskId, messages: [{ id: messageId, agentOutput: { text: '' } }] } }],
    },
  },
];
const ending: ResponseEvent = { finished: { done: {} } };

/** With a field nobody knows beside the message, an append takes the long way. */
function append(index: number, isOdd: boolean): ResponseEvent {
  const action = {
    appendToMessageContent: {
      taskId,
      message: { id: messageId, agentOutput: { text: text(index) } },
      mask: { paths: ['agent_output.text'] },
    },
  };
  return { clientActions: { actions: [action], ...(isOdd && { $unknowns: [rawField(88, 'later')] }) } };
}

const framed = (event: ResponseEvent) => Buffer.from(frame(base64url(encodeEvent(event))));
const appends = Array.from({ length: chunks }, (_none, index) => append(index, false));
const payloads = appends.map((event) => base64url(encodeEvent(event)));
const bytes = appends.map((event) => Buffer.from(encodeEvent(event)));
const start = Buffer.concat(opening.map(framed));
const end = framed(ending);
const single = appends.map(framed);
const whole = Buffer.concat(single);
const oddWhole = Buffer.concat(appends.map((_event, index) => framed(append(index, true))));

/** Reads an answer; `use` gets the events of each read. */
function decode(reads: readonly Buffer[], use: (events: readonly TurnEvent[]) => void): void {
  const decoder = new WarpDecoder({ tools: [], remembered: undefined });
  let length = 0;
  for (const read of [start, ...reads, end]) {
    const events = decoder.push(read);
    for (const event of events) if (event.type === 'text-delta') length += event.text.length;
    use(events);
  }
  if (length !== chunks * text(0).length) throw new Error(`${length} characters were read`);
}

function encode(reads: readonly Buffer[]): void {
  const identity = { id: 'chatcmpl-1', created: 0, model: 'auto', now: Date.now };
  const encoder = openaiChatInbound.streamEncoder(identity, {
    includeUsage: false,
    customTools: new Set(),
  } as never);
  let length = 0;
  decode(reads, (events) => {
    length += encoder.encode(events).length;
  });
  if (length === 0) throw new Error('nothing was written');
}

let last: StringAppend | undefined;
const nothing = () => {};
const steps: readonly (readonly [string, () => void])[] = [
  ['base64 to bytes', () => each(payloads, (payload) => decodePayload(payload))],
  [
    'the targeted reader',
    () =>
      each(bytes, (event) => {
        last = readAppend(event, last);
        return last;
      }),
  ],
  ['the full reader', () => each(bytes, (event) => readMessage(ResponseEventSchema, event))],
  ['whole decoder, one read, targeted reader', () => decode([whole], nothing)],
  ['whole decoder, one read, full reader', () => decode([oddWhole], nothing)],
  ['whole decoder, a read an event', () => decode(single, nothing)],
  ['decoder and chat encoder, one read', () => encode([whole])],
  ['decoder and chat encoder, a read an event', () => encode(single)],
];

function each<Item>(items: readonly Item[], read: (item: Item) => unknown): void {
  for (const item of items) if (read(item) === undefined) throw new Error('an event was not read');
}

/** Nanoseconds an event, of this thread's own time. */
function measure(run: () => void): number {
  const begin = process.threadCpuUsage();
  const until = performance.now() + roundMs;
  let runs = 0;
  do {
    run();
    runs += 1;
  } while (performance.now() < until);
  const spent = process.threadCpuUsage(begin);
  return ((spent.user + spent.system) * 1_000) / (runs * chunks);
}

for (const [, run] of steps) measure(run);
const figures = steps.map((): number[] => []);
// Taking turns, so that what disturbs the machine falls on all.
for (let round = 0; round < rounds; round += 1) {
  steps.forEach(([, run], index) => {
    figures[index]?.push(measure(run));
  });
}
const rows = steps.map(([name], index) => {
  const { median, min, max } = spreadOf(figures[index] ?? []);
  return [name, show(median), `${show(min)}-${show(max)}`];
});
process.stdout.write(`${table(['step', 'CPU ns an event', 'range of rounds'], rows)}\n`);
