import { setTimeout as delay } from 'node:timers/promises';
import { type Dispatcher, Pool, request as send } from 'undici';
import { WebSocket } from 'ws';

/** One client of the gateway: it sends one turn after another and looks at every answer. */
export interface Caller {
  readonly url: string;
  readonly key: string;
  readonly dispatcher: Dispatcher;
  /** Unique in the whole run: what is numbered is a conversation of its own. */
  number(): number;
  /** Called once for each turn. */
  turn(): void;
}

/** Some turns that belong together. Throws at the first answer that is not right. */
export interface TurnKind {
  readonly name: string;
  run(caller: Caller): Promise<void>;
}

type Json = { readonly [name: string]: unknown };

interface Answer {
  readonly status: number;
  readonly text: string;
}

const rule = 'Answer in plain words, name the file and the line, and say what you are not sure of. '.repeat(
  8,
);
const weatherTool = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather in a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};
const citySchema = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};

function question(number: number): string {
  return `number-${number}. ${'The second test fails now and then since the last change; what should be looked at first? '.repeat(6)}`;
}

async function post(caller: Caller, path: string, body: Json, headers: Json = {}): Promise<Answer> {
  caller.turn();
  return ask(caller, 'POST', path, JSON.stringify(body), headers);
}

async function ask(
  { url, key, dispatcher }: Caller,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: string,
  headers: Json = {},
): Promise<Answer> {
  const answer = await send(url + path, {
    method,
    dispatcher,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    } as Record<string, string>,
    body: body ?? null,
  });
  return { status: answer.statusCode, text: await answer.body.text() };
}

function expect({ status, text }: Answer, wanted: number, ...parts: readonly string[]): Json {
  const missing = parts.find((part) => !text.includes(part));
  if (status !== wanted || missing !== undefined) {
    const what = missing === undefined ? `status ${wanted}` : `${JSON.stringify(missing)}`;
    throw new Error(`expected ${what}, got ${status}: ${text.slice(0, 500)}`);
  }
  return text.startsWith('{') ? (JSON.parse(text) as Json) : {};
}

const chat = (caller: Caller, messages: readonly Json[], more: Json = {}, headers: Json = {}) =>
  post(caller, '/v1/chat/completions', { model: 'sandbox', messages, ...more }, headers);

function firstMessages(caller: Caller): Json[] {
  return [
    { role: 'system', content: rule },
    { role: 'user', content: question(caller.number()) },
  ];
}

const streamed = { stream: true, stream_options: { include_usage: true } };

/** Reads the beginning of a stream and leaves. */
async function leaveEarly(caller: Caller): Promise<void> {
  caller.turn();
  const answer = await send(`${caller.url}/v1/chat/completions`, {
    method: 'POST',
    dispatcher: caller.dispatcher,
    headers: { authorization: `Bearer ${caller.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sandbox-paced', messages: firstMessages(caller), ...streamed }),
  });
  for await (const _chunk of answer.body) break;
}

async function overSocket(caller: Caller): Promise<void> {
  const socket = new WebSocket(`${caller.url.replace(/^http/, 'ws')}/v1/responses`, {
    headers: { authorization: `Bearer ${caller.key}` },
  });
  try {
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    let previous: string | undefined;
    for (let round = 0; round < 2; round += 1) {
      caller.turn();
      const ended = new Promise<string>((resolve, reject) => {
        socket.on('message', (data) => {
          const event = JSON.parse(String(data)) as { type: string; response?: { id: string } };
          if (event.type === 'error' || event.type === 'response.failed') reject(new Error(String(data)));
          if (event.type === 'response.completed') resolve(event.response?.id ?? '');
        });
        socket.once('close', () => reject(new Error('the socket was closed')));
      });
      socket.send(
        JSON.stringify({
          type: 'response.create',
          model: 'sandbox',
          input: question(caller.number()),
          store: false,
          ...(previous !== undefined && { previous_response_id: previous }),
        }),
      );
      previous = await ended;
      socket.removeAllListeners('message');
    }
  } finally {
    socket.terminate();
  }
}

async function inBackground(caller: Caller): Promise<void> {
  const begun = await post(caller, '/v1/responses', {
    model: 'sandbox',
    input: question(caller.number()),
    background: true,
  });
  const { id } = expect(begun, 200, '"id":"resp_');
  for (let look = 0; look < 1_200; look += 1) {
    const { status } = expect(await ask(caller, 'GET', `/v1/responses/${id}`), 200);
    if (status === 'completed') return;
    await delay(25);
  }
  throw new Error(`the response ${id} did not end`);
}

/** In the order in which each caller goes through them, again and again. */
export const turnKinds: readonly TurnKind[] = [
  {
    name: 'chat, answered as JSON',
    async run(caller) {
      expect(await chat(caller, firstMessages(caller)), 200, 'You said: number-', '"finish_reason":"stop"');
    },
  },
  {
    name: 'chat, streamed',
    async run(caller) {
      expect(await chat(caller, firstMessages(caller), streamed), 200, '"finish_reason":"stop"', '[DONE]');
    },
  },
  {
    name: 'a long stream',
    async run(caller) {
      const messages = firstMessages(caller);
      expect(
        await chat(caller, messages, { ...streamed, model: 'sandbox-burst' }),
        200,
        'token-0199',
        '[DONE]',
      );
    },
  },
  {
    name: 'a call of a tool and its result',
    async run(caller) {
      const messages: Json[] = [
        { role: 'user', content: `number-${caller.number()}\n\ncall weather {"city":"Oslo"}` },
      ];
      const tools = { tools: [weatherTool] };
      const called = expect(await chat(caller, messages, tools), 200, '"finish_reason":"tool_calls"');
      const message = (called['choices'] as [{ message: { tool_calls: [{ id: string }] } }])[0].message;
      messages.push(message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'rain' });
      expect(await chat(caller, messages, { ...tools, ...streamed }), 200, 'Tool ', '[DONE]');
    },
  },
  {
    name: 'a conversation of four turns',
    async run(caller) {
      const session = { 'x-session-id': `session-${caller.number()}` };
      const messages = firstMessages(caller);
      for (let round = 0; round < 4; round += 1) {
        const answer = expect(await chat(caller, messages, {}, session), 200, 'You said: ');
        messages.push((answer['choices'] as [{ message: Json }])[0].message);
        messages.push({ role: 'user', content: `And then? ${question(caller.number())}` });
      }
    },
  },
  {
    name: 'responses, stored and chained',
    async run(caller) {
      let previous: unknown;
      for (let round = 0; round < 3; round += 1) {
        const answer = await post(caller, '/v1/responses', {
          model: 'sandbox',
          instructions: rule,
          input: question(caller.number()),
          ...(previous !== undefined && { previous_response_id: previous }),
        });
        previous = expect(answer, 200, '"status":"completed"')['id'];
      }
      expect(await ask(caller, 'GET', `/v1/responses/${previous}`), 200);
      if (caller.number() % 2 === 0) expect(await ask(caller, 'DELETE', `/v1/responses/${previous}`), 200);
    },
  },
  {
    name: 'a response, streamed',
    async run(caller) {
      const body = { model: 'sandbox', input: question(caller.number()), stream: true, store: false };
      expect(await post(caller, '/v1/responses', body), 200, 'response.completed');
    },
  },
  { name: 'responses over a WebSocket', run: overSocket },
  { name: 'a response in the background', run: inBackground },
  {
    name: 'messages',
    async run(caller) {
      const body = {
        model: 'sandbox',
        max_tokens: 1000,
        system: rule,
        messages: [{ role: 'user', content: question(caller.number()) }],
      };
      expect(await post(caller, '/v1/messages', body), 200, '"stop_reason":"end_turn"');
      expect(await post(caller, '/v1/messages', { ...body, stream: true }), 200, 'event: message_stop');
    },
  },
  {
    name: 'an answer by a schema',
    async run(caller) {
      const format = { type: 'json_schema', json_schema: { name: 'city', schema: citySchema } };
      const messages = [{ role: 'user', content: `number-${caller.number()}: which "city" is meant?` }];
      const more = { model: 'sandbox-obedient', response_format: format };
      expect(await chat(caller, messages, more), 200, 'city');
    },
  },
  {
    name: 'refused requests',
    async run(caller) {
      expect(await chat(caller, [], {}), 400, 'messages');
      const wrong = await chat({ ...caller, key: `wrong-${caller.number()}` }, firstMessages(caller));
      expect(wrong, 401);
      expect(await chat(caller, firstMessages(caller), { model: 'sandbox-400' }), 400);
    },
  },
  {
    name: 'answers that break off or never come',
    async run(caller) {
      for (const model of ['sandbox-error', 'sandbox-cut', 'sandbox-unavailable', 'sandbox-eof-early']) {
        const { status, text } = await chat(caller, firstMessages(caller), { model, ...streamed });
        if (!text.includes('"error"'))
          throw new Error(`${model}: no error in ${status}: ${text.slice(0, 300)}`);
      }
    },
  },
  { name: 'a stream the client leaves', run: leaveEarly },
];

export function openCaller(url: string): Pool {
  return new Pool(url, { connections: 1, pipelining: 1 });
}
