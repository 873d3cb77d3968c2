/**
 * What a long conversation costs: the memory kept between its turns, and the time a turn takes to read it, to send it
 * and to make it again. Each turn has one call of a tool, its result and an answer. `node bench/conversation.ts`
 */

import { base64url, frame } from '../sandbox/frames.ts';
import { encodeEvent, rawField } from '../sandbox/schema.ts';
import { toStruct } from '../sandbox/struct.ts';
import type { ClientAction, Message as WireMessage } from '../sandbox/wire.ts';
import { plainTurn } from '../src/core/testing/plain-turn.ts';
import type { Message, TurnRequest } from '../src/core/turn.ts';
import { createWarpOutbound } from '../src/protocols/warp/outbound.ts';
import { show, table } from './figures.ts';

const turns = 200;
const resultText = 'x'.repeat(2_000);
const answerText = 'y'.repeat(500);
const argumentsText = 'z'.repeat(200);
const serverData = 'd'.repeat(100);
const taskId = 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6';
const outbound = createWarpOutbound();

const request: TurnRequest = {
  ...plainTurn,
  messages: [],
  tools: [{ name: 'read', parameters: { type: 'object', properties: { path: { type: 'string' } } } }],
};

let ids = 0;
function message(content: Partial<WireMessage>): WireMessage {
  ids += 1;
  return {
    id: `0b1c2d3e-4f50-4a6b-8c7d-${String(ids).padStart(12, '0')}`,
    taskId,
    requestId: 'request-id-of-36-characters-in-length',
    timestamp: { seconds: 1_790_000_000 },
    serverMessageData: serverData,
    $unknowns: [rawField(9_001, 'a field of later')],
    ...content,
  };
}

const event = (...actions: ClientAction[]) => frame(base64url(encodeEvent({ clientActions: { actions } })));
const add = (...messages: WireMessage[]): ClientAction => ({ addMessagesToTask: { taskId, messages } });

function answer(...actions: ClientAction[]): Buffer {
  const init = { init: { conversationId: 'conversation', requestId: 'request' } };
  const finished = { finished: { done: {} } };
  return Buffer.from(
    [frame(base64url(encodeEvent(init))), event(...actions), frame(base64url(encodeEvent(finished)))].join(
      '',
    ),
  );
}

interface Sent {
  readonly memory: Uint8Array;
  readonly requestBytes: number;
  readonly openMs: number;
  readonly readMs: number;
}

function turn(memory: Uint8Array | undefined, newMessages: Message[], body: Buffer): Sent {
  const begin = performance.now();
  const { request: sent, decoder } = outbound.open({
    request: { ...request, messages: newMessages },
    ...(memory && { remembered: { memory, newMessages } }),
  });
  const opened = performance.now();
  decoder.push(body);
  const kept = decoder.memory();
  const read = performance.now();
  if (!kept) throw new Error('nothing was kept');
  return { memory: kept, requestBytes: sent.body.length, openMs: opened - begin, readMs: read - opened };
}

let memory: Uint8Array | undefined;
const rows: string[][] = [];
for (let index = 1; index <= turns; index += 1) {
  const toolCallId = `call-${index}`;
  const query = `Question ${index}: what is in the file?`;
  const asked = turn(
    memory,
    [{ role: 'user', parts: [{ type: 'text', text: query }] }],
    answer(
      ...(memory ? [] : [{ createTask: { task: { id: taskId } } }]),
      add(
        message({ userQuery: { query } }),
        message({
          toolCall: {
            toolCallId,
            callMcpTool: { name: 'read', args: toStruct({ path: argumentsText }), serverId: 'server' },
          },
        }),
      ),
    ),
  );
  const answered = turn(
    asked.memory,
    [
      {
        role: 'tool',
        parts: [{ type: 'tool-result', callId: toolCallId, text: resultText, isError: false }],
      },
    ],
    answer(
      add(
        message({
          toolCallResult: {
            toolCallId,
            callMcpTool: { success: { results: [{ text: { text: resultText } }] } },
          },
        }),
        message({ agentOutput: { text: answerText } }),
      ),
    ),
  );
  memory = answered.memory;
  if ([1, 10, 50, 100, 200].includes(index)) {
    rows.push([
      String(index),
      show(memory.length / 1_000),
      show(memory.length / index / 1_000),
      show(answered.requestBytes / 1_000),
      show(answered.openMs),
      show(answered.readMs),
    ]);
  }
}
process.stdout.write(
  `${table(['turns', 'memory, kB', 'kB a turn', 'next request, kB', 'to send, ms', 'to read and keep, ms'], rows)}\n`,
);
