import type { TurnRequest } from '../src/core/turn.ts';
import { openaiChatInbound } from '../src/protocols/openai-chat/inbound.ts';
import { createWarpOutbound } from '../src/protocols/warp/outbound.ts';

export interface Workload {
  readonly name:
    | 'json'
    | 'burst'
    | 'paced'
    | 'relay-json'
    | 'relay-burst'
    | 'relay-paced'
    | 'relay-messages'
    | 'messages-to-chat'
    | 'chat-to-messages'
    | 'tail';
  readonly title: string;
  /** What the client speaks. */
  readonly dialect: 'chat' | 'messages';
  /** Which floor it is compared with: the one of turns at Warp, or the one of turns at servers of JSON. */
  readonly floor: 'warp' | 'json';
  /** What CPU time is counted by. */
  readonly unit: 'request' | 'chunk';
  readonly unitsPerTurn: number;
  readonly model: string;
  readonly isStream: boolean;
  readonly connections: number;
  /** Unset: as fast as answers come. */
  readonly perSecond?: number | undefined;
  /** Turns a round. */
  readonly count: number;
  readonly quickCount: number;
  /** Which latency says something: the paced answer's end is the upstream's affair. */
  readonly latency: 'whole' | 'first';
  /** At most so many times the floor: its CPU time, at a fixed rate its p99. */
  readonly budget: number;
}

const chunks = 200;

const json = {
  dialect: 'chat',
  unit: 'request',
  unitsPerTurn: 1,
  isStream: false,
  connections: 10,
  count: 2_000,
  quickCount: 800,
  latency: 'whole',
} as const;
const burst = { ...json, isStream: true, count: 400, quickCount: 200 } as const;
const paced = {
  dialect: 'chat',
  unit: 'chunk',
  unitsPerTurn: chunks,
  isStream: true,
  connections: 32,
  count: 64,
  quickCount: 32,
  latency: 'first',
} as const;
const pacedTitle = `Stream of ${chunks} chunks, one every 5 ms: 32 streams at a time`;

export const workloads: readonly Workload[] = [
  {
    ...json,
    name: 'json',
    title: 'Answer in one piece: 2 KB request, 10 connections',
    floor: 'warp',
    model: 'sandbox',
    budget: 1.6,
  },
  {
    ...burst,
    name: 'burst',
    title: `Stream of ${chunks} chunks at once: 2 KB request, 10 connections`,
    floor: 'warp',
    model: 'sandbox-burst',
    budget: 1.4,
  },
  { ...paced, name: 'paced', title: pacedTitle, floor: 'warp', model: 'sandbox-paced', budget: 1.2 },
  {
    ...json,
    name: 'relay-json',
    title: 'Relayed answer in one piece: 2 KB request, 10 connections',
    floor: 'json',
    model: 'local/chat-json',
    budget: 1.8,
  },
  {
    ...burst,
    name: 'relay-burst',
    title: `Relayed stream of ${chunks} chunks at once: 2 KB request, 10 connections`,
    floor: 'json',
    model: 'local/chat-burst',
    budget: 0.5,
  },
  {
    ...paced,
    name: 'relay-paced',
    title: `Relayed: ${pacedTitle}`,
    floor: 'json',
    model: 'local/chat-paced',
    budget: 0.8,
  },
  {
    ...json,
    name: 'relay-messages',
    title: 'Relayed answer in one piece, in Messages: 2 KB request, 10 connections',
    dialect: 'messages',
    floor: 'json',
    model: 'claude/claude-json',
    budget: 1.8,
  },
  {
    ...json,
    name: 'messages-to-chat',
    title: 'Messages translated to Chat Completions, answer in one piece: 2 KB request, 10 connections',
    dialect: 'messages',
    floor: 'json',
    model: 'local/chat-json',
    budget: 2.5,
  },
  {
    ...json,
    name: 'chat-to-messages',
    title: 'Chat Completions translated to Messages, answer in one piece: 2 KB request, 10 connections',
    floor: 'json',
    model: 'claude/claude-json',
    budget: 2.5,
  },
  {
    ...json,
    name: 'tail',
    title: 'Answer in one piece at 100 turns a second',
    floor: 'warp',
    model: 'sandbox',
    connections: 20,
    perSecond: 100,
    count: 400,
    quickCount: 200,
    budget: 2,
  },
];

/** Takes the place of a number in a request made ahead of time, so that no two turns are the same conversation. */
const placeholder = 'number-00000000';
const placeholderBytes = Buffer.from(placeholder);

const rule = 'Answer in plain words, name the file and the line, and say what you are not sure of. '.repeat(
  8,
);
const question = `${placeholder}. ${'The second test fails now and then since the last change; what should be looked at first? '.repeat(12)}`;
const asked = { role: 'user', content: question };

/** Two kilobytes of JSON, as a client would send them. */
const bodies = {
  chat: (model: string, isStream: boolean) => ({
    model,
    ...(isStream ? { stream: true, stream_options: { include_usage: true } } : {}),
    temperature: 0.2,
    messages: [{ role: 'system', content: rule }, asked],
  }),
  messages: (model: string, isStream: boolean) => ({
    model,
    ...(isStream ? { stream: true } : {}),
    max_tokens: 4_096,
    temperature: 0.2,
    system: rule,
    messages: [asked],
  }),
};
const paths = { chat: '/v1/chat/completions', messages: '/v1/messages' };

function httpMessage(path: string, headers: Readonly<Record<string, string>>, body: Uint8Array): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${lines.join('')}content-length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

function numbered(message: Buffer): () => Buffer {
  const at = message.indexOf(placeholderBytes) + 'number-'.length;
  if (at < 'number-'.length) throw new Error('the request holds no number');
  let sequence = 0;
  return () => {
    sequence += 1;
    const copy = Buffer.from(message);
    copy.write(String(sequence).padStart(8, '0'), at, 'latin1');
    return copy;
  };
}

/** Requests as clients of the gateway send them. */
export function clientRequests(
  model: string,
  isStream: boolean,
  apiKey: string,
  dialect: Workload['dialect'] = 'chat',
): () => Buffer {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const body = Buffer.from(JSON.stringify(bodies[dialect](model, isStream)));
  return numbered(httpMessage(paths[dialect], headers, body));
}

/** The same requests as the upstream gets them, for a relay that translates nothing. */
export function upstreamRequests(model: string): () => Buffer {
  const { request } = openaiChatInbound.decode(bodies.chat(model, true));
  const open = createWarpOutbound().open({ request: request as TurnRequest });
  const headers = { ...open.request.headers, authorization: 'Bearer wk-relay' };
  return numbered(httpMessage(open.request.path, headers, open.request.body));
}

/** What is wrong with a client's answer; undefined when it is right. */
export function faultInAnswer(workload: Workload): (body: string) => string | undefined {
  if (workload.dialect === 'messages') return faultInMessage;
  return workload.isStream ? faultInStream : faultInWhole;
}

function faultInMessage(body: string): string | undefined {
  if (!body.startsWith('{') || !body.includes('"text":"token-')) return 'not the answer';
  if (!body.includes('"stop_reason":"end_turn"')) return 'no good end';
  return body.includes('"input_tokens":') ? undefined : 'no usage';
}

function faultInWhole(body: string): string | undefined {
  if (!body.startsWith('{') || !/"content":"(?:You said: number-|token-)/.test(body)) return 'not the answer';
  if (!body.includes('"finish_reason":"stop"')) return 'no good end';
  return body.includes('"prompt_tokens":') ? undefined : 'no usage';
}

function faultInStream(body: string): string | undefined {
  const found = countOf(body, '"content":"token-');
  if (found !== chunks) return `${found} chunks instead of ${chunks}`;
  if (!body.includes('"finish_reason":"stop"')) return 'no good end';
  return body.endsWith('data: [DONE]\n\n') ? undefined : 'no [DONE]';
}

/** The same for the upstream's own answer. Its beginning and its end are events, too. */
export function faultInUpstreamAnswer(workload: Workload): (body: string) => string | undefined {
  const expected = workload.isStream ? chunks + 2 : 3;
  return (body) => {
    const found = countOf(body, 'data: ');
    return found >= expected ? undefined : `${found} events instead of ${expected}`;
  };
}

function countOf(text: string, part: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + part.length)) count += 1;
  return count;
}
