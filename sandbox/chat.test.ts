import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endScenarios } from './end-scenarios.ts';
import { type Sandbox, scenarios, startSandbox } from './index.ts';
import {
  at,
  chatRequest,
  decode,
  encode,
  eventsOf,
  type Field,
  type Held,
  hold,
  type RequestParts,
  send,
} from './raw-client.ts';
import { refusalScenarios } from './refusal-scenarios.ts';
import { unicodeText } from './shapes.ts';
import { toolScenarios } from './tool-scenarios.ts';
import { transportScenarios } from './transport-scenarios.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterAll(() => sandbox.close());

async function talk(parts: RequestParts = {}, bearer = 'wk-test'): Promise<Held> {
  const answer = await send(sandbox.url, chatRequest(parts), { bearer });
  expect(answer.status).toBe(200);
  return hold(eventsOf(answer.body), parts.tasks);
}

const lastTurn = () => sandbox.turns.at(-1);
const partial = 'The first part of an answer';

describe('scenarios', () => {
  const answered: Record<string, string[]> = {
    plain: ['You said: Hello'],
    reasoning: ['You said: Hello'],
    'two-messages': ['First message.', 'You said: Hello'],
    update: ['You said: Hello'],
    unicode: [`${unicodeText}You said: Hello`],
    obedient: ['You said: Hello'],
    eager: ['You said: Hello'],
    nothing: [],
    echo: ['Hello'],
    transaction: ['This is taken back.', 'You said: Hello'],
    subtask: ['You said: Hello'],
    'subtask-open': ['You said: Hello'],
    extras: ['You said: Hello'],
    'unknown-actions': ['You said: Hello'],
    'no-usage': ['You said: Hello'],
    'refresh-models': ['You said: Hello'],
    move: ['Before the move.', 'You said: Hello'],
    unquoted: ['You said: Hello'],
    quoted: ['You said: Hello'],
    crlf: ['You said: Hello'],
    comments: ['You said: Hello'],
    split: ['You said: Hello'],
    multiline: ['You said: Hello'],
  };
  test.each(Object.entries(answered))('%s ends well and says what it should', async (name, texts) => {
    const held = await talk({ model: name === 'plain' ? 'sandbox' : `sandbox-${name}` });
    expect(held.texts).toEqual(texts);
    expect(held.reason).toBe(2);
    expect(lastTurn()).toMatchObject({ scenario: name, finished: true, cancelled: false, problems: [] });
  });

  test.each([
    ['error', partial, 7],
    ['error-early', '', 7],
    ['unavailable', '', 6],
    ['other', '', 1],
    ['quota', '', 4],
    ['quota-late', partial, 4],
    ['max-tokens', partial, 3],
    ['context', '', 5],
    ['invalid-key', '', 12],
  ])('%s says "%s" and finishes with reason %i', async (name, text, reason) => {
    const held = await talk({ model: `sandbox-${name}` });
    expect(held.texts.join('')).toBe(text);
    expect(held.reason).toBe(reason);
  });

  test.each([
    ['cut', true, partial, 'init'],
    ['cut-early', true, '', 'init'],
    ['eof', false, partial, 'init'],
    ['eof-early', false, '', 'init'],
    ['empty', false, '', ''],
  ])('%s breaks off (connection lost: %s) after "%s"', async (name, isCut, text, first) => {
    const answer = await send(sandbox.url, chatRequest({ model: `sandbox-${name}` }));
    const held = hold(eventsOf(answer.body));
    expect(answer).toMatchObject({ status: 200, isCut });
    expect(held.texts.join('')).toBe(text);
    expect(held.conversationId !== '').toBe(first === 'init');
    expect(held.reason).toBeUndefined();
    expect(lastTurn()).toMatchObject({ finished: false, cancelled: false });
  });

  test.each([
    ['429', 429],
    ['400', 400],
    ['401', 401],
    ['404', 404],
    ['500', 500],
    ['503', 503],
  ])('%s refuses with a text body', async (name, status) => {
    const answer = await send(sandbox.url, chatRequest({ model: `sandbox-${name}` }));
    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toContain('text/plain');
    expect(answer.headers['retry-after']).toBe(status === 429 ? '2' : undefined);
    expect(answer.body).toMatch(/^sandbox: /);
  });

  test.each(['402', '403'])('%s refuses in JSON with words about the account', async (name) => {
    const answer = await send(sandbox.url, chatRequest({ model: `sandbox-${name}` }));
    expect(answer.status).toBe(Number(name));
    expect(answer.headers['content-type']).toBe('application/json');
    expect(JSON.parse(answer.body)).toEqual({ error: expect.stringMatching(/^sandbox: /) });
  });

  test('out-of-credits carries the error code and a message for the user', async () => {
    const answer = await send(sandbox.url, chatRequest({ model: 'sandbox-out-of-credits' }));
    expect(answer.status).toBe(429);
    expect(answer.headers['x-warp-error-code']).toBe('OUT_OF_CREDITS');
    expect(JSON.parse(answer.body)).toHaveProperty('userDisplayMessage');
  });

  test('html answers 200 with a page', async () => {
    const answer = await send(sandbox.url, chatRequest({ model: 'sandbox-html' }));
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toContain('text/html');
  });

  test.each(['garbage', 'garbage-base64'])(
    '%s sends an unreadable payload and then a proper end',
    async (name) => {
      const { body } = await send(sandbox.url, chatRequest({ model: `sandbox-${name}` }));
      expect(() => eventsOf(body)).toThrow();
      const payloads = body.split('\n\n').filter(Boolean);
      expect(hold(eventsOf(payloads.at(-1) ?? '')).reason).toBe(2);
      expect(hold(eventsOf(payloads.slice(0, -2).join('\n'))).texts).toEqual([partial]);
    },
  );

  test.each([
    ['stall', partial],
    ['silent', ''],
  ])('%s falls silent after "%s" and notices that the client left', async (name, text) => {
    const waiting = new AbortController();
    const seen: string[] = [];
    const answer = send(sandbox.url, chatRequest({ model: `sandbox-${name}` }), {
      signal: waiting.signal,
      onChunk: (chunk) => void seen.push(chunk),
    }).catch(() => undefined);
    await expect.poll(() => hold(eventsOf(seen.join(''))).texts.join('')).toBe(text);
    await new Promise((resolve) => setTimeout(resolve, 50));
    waiting.abort();
    await answer;
    await expect.poll(() => lastTurn()).toMatchObject({ scenario: name, cancelled: true, finished: false });
    await expect.poll(() => sandbox.counts().open).toBe(0);
  });

  test('hang sends not even headers', async () => {
    const waiting = new AbortController();
    let isAnswered = false;
    const answer = send(sandbox.url, chatRequest({ model: 'sandbox-hang' }), { signal: waiting.signal })
      .then(() => {
        isAnswered = true;
      })
      .catch(() => undefined);
    await expect.poll(() => lastTurn()?.scenario).toBe('hang');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(isAnswered).toBe(false);
    waiting.abort();
    await answer;
    await expect.poll(() => lastTurn()).toMatchObject({ cancelled: true, status: 0 });
  });

  test('slow keeps the client waiting for three seconds', async () => {
    const startedAt = Date.now();
    const held = await talk({ model: 'sandbox-slow' });
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(2_990);
    expect(held.texts).toEqual(['You said: Hello']);
  });

  test('drip sends piece after piece, and stops when the client leaves', async () => {
    const sentWhenRead: (number | undefined)[] = [];
    await send(sandbox.url, chatRequest({ model: 'sandbox-drip' }), {
      onChunk: (_chunk, body) => {
        sentWhenRead.push(lastTurn()?.eventsSent);
        return body.split('data:').length > 7 ? 'leave' : undefined;
      },
    }).catch(() => undefined);
    // What was read first had been sent before the rest was there.
    expect(sentWhenRead[0]).toBeLessThan(sentWhenRead.at(-1) ?? 0);
    expect(sentWhenRead.at(-1)).toBeLessThan(50);
    await expect.poll(() => lastTurn()?.cancelled).toBe(true);
  });

  test.each([
    ['burst', 200],
    ['burst-7', 7],
    ['paced-20', 20],
  ])('%s sends %i chunks', async (name, count) => {
    const held = await talk({ model: `sandbox-${name}` });
    expect(held.texts.join('')).toBe(
      Array.from({ length: count }, (_none, index) => `token-${String(index).padStart(4, '0')} `).join(''),
    );
    expect(held.reason).toBe(2);
    expect(lastTurn()?.eventsSent).toBe(count + 5);
  });

  test('huge sends 8 MiB in which no line is lost', async () => {
    const held = await talk({ model: 'sandbox-huge' });
    const lines = (held.texts[0] ?? '').split('\n');
    expect(held.texts[0]?.length).toBe(8 * 1024 * 1024);
    expect(lines[131_071]).toMatch(/^line 131071 \.+$/);
  });

  test('lingering ends well and keeps the connection', async () => {
    const answer = await send(sandbox.url, chatRequest({ model: 'sandbox-lingering' }), {
      onChunk: (_chunk, body) =>
        body.endsWith('\n\n') && hold(eventsOf(body)).reason === 2 ? 'leave' : undefined,
    });
    expect(answer.isCut).toBe(true);
    expect(hold(eventsOf(answer.body)).texts).toEqual(['You said: Hello']);
  });

  test('endless sends 48 MiB without a line end', async () => {
    const { body } = await send(sandbox.url, chatRequest({ model: 'sandbox-endless' }), {
      onChunk: (_chunk, body) => (body.length > 48 * 1024 * 1024 ? 'leave' : undefined),
    });
    expect(body.slice(body.lastIndexOf('data: '))).toMatch(/^data: A{1000}/);
    expect(body.slice(-48 * 1024 * 1024)).not.toContain('\n');
  });

  test('a model the sandbox does not know is answered as plain', async () => {
    expect((await talk({ model: 'gpt-5' })).texts).toEqual(['You said: Hello']);
    expect((await talk({ model: 'sandbox-nonsense' })).texts).toEqual(['You said: Hello']);
  });

  test('every scenario is described and has a test of its own here', () => {
    const others =
      'error error-early unavailable other quota quota-late max-tokens context invalid-key cut cut-early eof ' +
      'eof-early empty 429 400 401 402 403 404 500 503 out-of-credits html garbage garbage-base64 stall silent ' +
      'hang slow drip burst paced huge lingering endless';
    // These have tests in files named after them.
    const elsewhere = [...toolScenarios, ...endScenarios, ...refusalScenarios, ...transportScenarios];
    const tested = [...Object.keys(answered), ...others.split(' '), ...elsewhere.map(({ name }) => name)];
    expect(tested.sort()).toEqual(scenarios.map((scenario) => scenario.name).sort());
    expect(scenarios.every(({ description, clientSees, model }) => description && clientSees && model)).toBe(
      true,
    );
  });
});

describe('bytes on the wire', () => {
  const bodyOf = async (name: string): Promise<string> => {
    const { body } = await send(sandbox.url, chatRequest({ model: `sandbox-${name}`, query: 'Hi?>>>??' }));
    return body;
  };

  test('payloads are padded base64 of the URL-safe alphabet', async () => {
    const { body, headers } = await send(sandbox.url, chatRequest());
    expect(headers['content-type']).toBe('text/event-stream');
    for (const line of body.trim().split('\n\n')) expect(line).toMatch(/^data: [A-Za-z0-9_-]+={0,2}$/);
  });

  test('the framings differ as they say', async () => {
    expect(await bodyOf('quoted')).toMatch(/^data: "[A-Za-z0-9_=-]+"\n\n/);
    expect(await bodyOf('crlf')).toMatch(/^data: [A-Za-z0-9_=-]+\r\n\r\n/);
    expect(await bodyOf('comments')).toMatch(
      /^: sandbox\n\nretry: 3000\nid: 0\nevent: message\ndata:\S+\n: after\n\n/,
    );
  });

  test('split sends every byte alone and multiline cuts events', async () => {
    const sizes = async (model: string): Promise<number[]> => {
      const pieces: number[] = [];
      await send(sandbox.url, chatRequest({ model }), { onChunk: (chunk) => void pieces.push(chunk.length) });
      return pieces;
    };
    expect(new Set(await sizes('sandbox-split'))).toEqual(new Set([1]));
    expect((await sizes('sandbox-multiline')).slice(0, 5)).toEqual([1, 3, 7, 1_000, 2]);
  });

  test('a plain stream is init, task, input, server data, text, appends, finished', async () => {
    const { body } = await send(sandbox.url, chatRequest());
    const events = eventsOf(body);
    expect(events.map((event) => decode(event)[0]?.no)).toEqual([1, ...Array(events.length - 2).fill(2), 3]);
    const actions = events.slice(1, -1).map((event) => decode(at(event, 2, 1) ?? Buffer.alloc(0))[0]?.no);
    expect(actions.slice(0, 4)).toEqual([1, 3, 13, 3]);
    expect(new Set(actions.slice(4))).toEqual(new Set([5]));
    expect(String(at(events[5] ?? Buffer.alloc(0), 2, 1, 5, 2, 1))).toBe('agent_output.text');
  });

  test('reasoning comes before the text, ends with its duration, and is left out when not supported', async () => {
    const { body } = await send(sandbox.url, chatRequest({ model: 'sandbox-reasoning' }));
    const messages = eventsOf(body).map((event) => at(event, 2, 1, 3, 2) ?? Buffer.alloc(0));
    const reasoningAt = messages.findIndex((message) => at(message, 15));
    const textAt = messages.findIndex((message) => at(message, 3));
    expect(reasoningAt).toBeGreaterThan(0);
    expect(textAt).toBeGreaterThan(reasoningAt);
    const durations = eventsOf(body).filter((event) => at(event, 2, 1, 4, 1, 15, 2));
    expect(durations).toHaveLength(1);
    expect(String(at(durations[0] ?? Buffer.alloc(0), 2, 1, 4, 2, 1))).toBe(
      'agent_reasoning.finished_duration',
    );
  });

  test('usage can be worked out from the texts', async () => {
    const held = await talk({ query: 'x'.repeat(40), model: 'auto' });
    const usage = decode(at(held.finished ?? Buffer.alloc(0), 8) ?? Buffer.alloc(0));
    expect(usage.find(({ no }) => no === 2)?.number).toBe(110);
    expect(usage.find(({ no }) => no === 3)?.number).toBe(Math.ceil(50 / 4));
    expect(String(usage.find(({ no }) => no === 1)?.value)).toBe('auto');
    expect(at(held.finished ?? Buffer.alloc(0), 10, 1)?.readFloatLE()).toBe(1);
    const bare = await talk({ model: 'sandbox-no-usage' });
    expect(decode(bare.finished ?? Buffer.alloc(0)).map(({ no }) => no)).toEqual([2]);
  });
});

describe('tools', () => {
  const twoCalls = 'Please call get_weather {"city":"Oslo {1}","days":[1,null,true]}\nand call get_time {}';

  test('calls of the last paragraph become MCP calls, the results are quoted in the next turn', async () => {
    const tools = ['get_weather', 'get_time'];
    const first = await talk({ query: twoCalls, tools });
    expect(first.toolCallIds).toHaveLength(2);
    expect(first.texts).toEqual([]);
    const root = first.tasks[0] ?? Buffer.alloc(0);
    const call = decode(root).flatMap(({ no, value }) => (no === 5 ? (at(value, 4, 12) ?? []) : []))[0];
    expect(String(at(call ?? Buffer.alloc(0), 1))).toBe('get_weather');
    expect(String(at(call ?? Buffer.alloc(0), 2, 1, 2, 3))).toBe('Oslo {1}');
    expect(String(at(call ?? Buffer.alloc(0), 3))).toBe('7f2b1c9e-1111-4222-8333-444455556666');

    const results = first.toolCallIds.map((id, index): [string, string] => [id, `result ${index}`]);
    const { conversationId, tasks } = first;
    const second = await talk({ query: '', conversationId, tasks, tools, results });
    expect(second.texts).toEqual(['Tool get_weather returned: result 0\nTool get_time returned: result 1']);
    expect(lastTurn()).toMatchObject({ problems: [], conversationId, toolNames: tools, taskCount: 1 });
    const third = await talk({ query: 'Thanks', conversationId, tasks: second.tasks, tools });
    expect(third.texts.at(-1)).toBe('You said: Thanks');
    expect(lastTurn()?.problems).toEqual([]);
  });

  test('no call is made for tools not offered, for folded history, or for a second one when parallel is off', async () => {
    expect((await talk({ query: 'call nothing {}', tools: ['get_time'] })).toolCallIds).toEqual([]);
    const folded = 'User: call get_time {}\n\nAssistant called get_time, result: noon';
    expect((await talk({ query: folded, tools: ['get_time'] })).toolCallIds).toEqual([]);
    const held = await talk({ query: twoCalls, tools: ['get_weather', 'get_time'], parallel: false });
    expect(held.toolCallIds).toHaveLength(1);
  });

  test('an unanswered and an invented tool call are noted', async () => {
    const tools = ['get_time'];
    const { conversationId, tasks, toolCallIds } = await talk({ query: 'call get_time {}', tools });
    await talk({ query: 'Never mind', conversationId, tasks, tools, results: [['call-x', 'what']] });
    expect(lastTurn()?.problems).toEqual([
      'tool result call-x answers no open tool call of the echoed tasks',
      `tool call ${toolCallIds[0]} is pending but not answered`,
    ]);
  });
});

describe('the echo', () => {
  const follow = async (change: (task: Buffer) => Buffer, model = 'sandbox'): Promise<readonly string[]> => {
    const { conversationId, tasks } = await talk({ model });
    await talk({ conversationId, tasks: tasks.map(change) });
    return lastTurn()?.problems ?? [];
  };
  const editMessages = (edit: (fields: Field[]) => Field[]) => (task: Buffer) =>
    encode(
      ...decode(task).map(({ no, value }): Field => {
        if (no !== 5) return [no, value];
        const fields = decode(value).map(
          (field): Field => [field.no, Number.isNaN(field.number) ? field.value : field.number],
        );
        return [no, encode(...edit(fields))];
      }),
    );

  test.each([
    'sandbox',
    'sandbox-burst',
    'sandbox-update',
    'sandbox-unknown-actions',
    'sandbox-subtask-open',
  ])('of %s is right when it is what was accumulated, in any field order', async (model) => {
    expect(await follow((task) => task, model)).toEqual([]);
    expect(
      await follow(
        editMessages((fields) => fields.toReversed()),
        model,
      ),
    ).toEqual([]);
  });

  test('without its unknown fields is noted', async () => {
    const problems = await follow(editMessages((fields) => fields.filter(([no]) => no < 100)));
    expect(problems).toHaveLength(2);
    expect(problems[0]).toContain('unknown fields lost');
  });

  test('without server_message_data, or without server_data, is noted', async () => {
    expect((await follow(editMessages((fields) => fields.filter(([no]) => no !== 7))))[0]).toContain(
      'serverMessageData lost',
    );
    const withoutServerData = (task: Buffer) =>
      encode(
        ...decode(task)
          .filter(({ no }) => no !== 8)
          .map(({ no, value }): Field => [no, value]),
      );
    expect((await follow(withoutServerData))[0]).toContain('serverData lost');
  });

  test('with a changed text, a missing message or an added one is noted', async () => {
    const changed = editMessages((fields) =>
      fields.map(([no, value]) => (no === 3 ? [3, encode([1, 'No'])] : [no, value])),
    );
    expect((await follow(changed))[0]).toContain('agentOutput changed');
    const shorter = (task: Buffer) =>
      encode(
        ...decode(task)
          .slice(0, -2)
          .map(({ no, value }): Field => [no, value]),
      );
    expect((await follow(shorter)).join()).toContain('is missing');
    const longer = (task: Buffer) => Buffer.concat([task, encode([5, encode([1, 'message-x'])])]);
    expect((await follow(longer))[0]).toContain('message message-x was never sent');
  });

  test('without the tasks, or with a subtask that is finished, is noted', async () => {
    const { conversationId } = await talk();
    await talk({ conversationId });
    expect(lastTurn()?.problems[0]).toContain('is missing');
    expect((await follow((task) => task, 'sandbox-subtask'))[0]).toContain('was never sent or is finished');
  });

  test('after a stream that failed may be what was held before or any part of it', async () => {
    const first = await talk();
    const { conversationId } = first;
    const failed = await talk({ conversationId, tasks: first.tasks, model: 'sandbox-error' });
    await talk({ conversationId, tasks: first.tasks, model: 'sandbox-error' });
    expect(lastTurn()?.problems).toEqual([]);
    await talk({ conversationId, tasks: failed.tasks });
    expect(lastTurn()?.problems).toEqual([]);
  });
});

describe('requests', () => {
  test.each([
    ['bytes that are no message', Buffer.from([0xff, 0xff, 0xff]), {}],
    ['no input', chatRequest({ query: '' }), {}],
    ['no model', chatRequest({ model: '' }), {}],
    ['an unknown conversation', chatRequest({ conversationId: 'nobody' }), {}],
    ['another content type', chatRequest(), { 'content-type': 'application/json' }],
    ['a body that is not gzip', chatRequest(), { 'content-encoding': 'gzip' }],
  ])('with %s get 400', async (_name, body, headers) => {
    const answer = await send(sandbox.url, body, { headers });
    expect(answer.status).toBe(400);
    expect(answer.body).toMatch(/^sandbox: /);
  });

  test('without a bearer get 401, with more than 32 MB 413', async () => {
    expect((await send(sandbox.url, chatRequest(), { bearer: '' })).status).toBe(401);
    const headers = { 'content-length': 33 * 1024 * 1024 };
    const answer = await send(sandbox.url, '', { headers }).catch((error: Error) => error);
    expect(answer).toMatchObject({ status: 413 });
  });

  test('that continue the conversation of another key get 400', async () => {
    const { conversationId, tasks } = await talk({}, 'wk-owner');
    const answer = await send(sandbox.url, chatRequest({ conversationId, tasks }), { bearer: 'wk-thief' });
    expect(answer.status).toBe(400);
  });

  test('that no proper client sends are answered, and noted', async () => {
    await talk({ supportedTools: Buffer.alloc(0) });
    expect(lastTurn()?.problems).toEqual(['supported_tools is [] instead of [9] (CALL_MCP_TOOL)']);
    await talk({ tools: ['a', 'a'], serverId: 'gateway' });
    expect(lastTurn()?.problems).toEqual([
      'mcp server id "gateway" is not a UUID',
      'two tools have the same name',
    ]);
    await talk({ tasks: [encode([1, 'made-up'])] });
    expect(lastTurn()?.problems).toEqual(['tasks are sent without a conversation_id']);
    await send(sandbox.url, chatRequest(), { headers: { 'x-warp-client-id': 'warp-app', accept: '*/*' } });
    expect(lastTurn()?.problems).toEqual([
      'header x-warp-client-id claims to be the official client',
      'header accept is not text/event-stream',
    ]);
  });

  test('are remembered, refused ones too, with what they carried', async () => {
    const before = sandbox.counts();
    await send(sandbox.url, chatRequest({ model: 'sandbox-500', query: 'Remember me' }), {
      headers: { 'user-agent': 'raw/1' },
    });
    expect(lastTurn()).toMatchObject({
      bearer: 'wk-test',
      model: 'sandbox-500',
      scenario: '500',
      query: 'Remember me',
      userAgent: 'raw/1',
      status: 500,
      finished: false,
    });
    expect(sandbox.counts()).toMatchObject({ turns: before.turns + 1, refused: before.refused + 1 });
  });
});
