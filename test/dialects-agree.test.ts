import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unicodeText } from '../sandbox/shapes.ts';
import { pixel } from '../src/core/testing/pixel.ts';
import type { AskedRequest } from '../src/core/turn.ts';
import { anthropicMessagesInbound } from '../src/protocols/anthropic-messages/inbound.ts';
import { createGeminiInbound } from '../src/protocols/gemini/inbound.ts';
import { openaiChatInbound } from '../src/protocols/openai-chat/inbound.ts';
import { createResponsesInbound } from '../src/protocols/openai-responses/inbound.ts';
import {
  dialectClients,
  type OfferedTool,
  type Said,
  type SaidResult,
  user,
  type Wish,
} from './support/dialects.ts';
import { awkwardText } from './support/neutral-answers.ts';
import { startTestServices, type TestServices } from './support/services.ts';
import type { Dialect, ReadAnswer } from './support/stream-grammar.ts';

const weather: OfferedTool = {
  name: 'get_weather',
  description: 'The weather of a city',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};
const dialects = Object.keys(dialectClients) as Dialect[];

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices({ UPSTREAM_FIRST_EVENT_SECONDS: '3', UPSTREAM_IDLE_SECONDS: '2' });
});
afterAll(() => services.close());

interface Way {
  readonly dialect: Dialect;
  readonly isStream: boolean;
}
const ways: readonly Way[] = dialects.flatMap((dialect) => [
  { dialect, isStream: false },
  { dialect, isStream: true },
]);
const nameOf = ({ dialect, isStream }: Way) => `${dialect}${isStream ? ', streamed' : ''}`;

function post({ dialect, isStream }: Way, wish: Wish): Promise<Response> {
  const { path, headers, body } = dialectClients[dialect];
  return fetch(services.gatewayUrl + path(wish.model, isStream), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body(wish, isStream)),
  });
}

async function ask(way: Way, wish: Wish): Promise<ReadAnswer> {
  const client = dialectClients[way.dialect];
  const answer = await post(way, wish);
  const body = await answer.text();
  if (answer.status !== 200) throw new Error(`${nameOf(way)}: ${answer.status} ${body}`);
  return way.isStream ? client.readStream(body) : client.readAnswer(body);
}

/** What the upstream was sent, but for what is another each time. */
function received(from: number) {
  return services.upstream.turns.slice(from).map((turn) => ({
    model: turn.model,
    query: withoutIds(turn.query),
    rules: turn.projectRules,
    tools: turn.toolNames,
    images: turn.imageCount,
    results: turn.toolResults.map(({ toolCallId: _, ...result }) => result),
    tasks: turn.taskCount,
    problems: turn.problems,
  }));
}

/** The upstream gives every call another id. */
function withoutIds(text: string): string {
  return text.replaceAll(/[\w-]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'call-id');
}

function comparable(answer: ReadAnswer) {
  const calls = answer.calls.map(({ id, name, arguments: input }) => ({
    hasId: id !== '',
    name,
    input: JSON.parse(input) as unknown,
  }));
  return { ...answer, calls };
}

/** A conversation as a client has it; `ask` is one turn of it. */
type Scenario = (ask: (wish: Omit<Wish, 'model'>, model?: string) => Promise<ReadAnswer>) => Promise<void>;

const said = (answer: ReadAnswer): Said => ({ by: 'assistant', text: answer.text, calls: answer.calls });

/** Asks for tools, answers them all with `resultFor`, and goes on. */
function toolTurns(
  lines: readonly string[],
  resultFor: (index: number) => Omit<SaidResult, 'callId'>,
): Scenario {
  return async (ask) => {
    const messages: Said[] = [user(lines.join('\n'))];
    const first = await ask({ messages, tools: [weather], system: 'Be brief.' });
    expect(first.end).toBe('tool-calls');
    messages.push(said(first), {
      by: 'tools',
      results: first.calls.map(({ id }, index) => ({ callId: id, ...resultFor(index) })),
    });
    const second = await ask({ messages, tools: [weather], system: 'Be brief.' });
    messages.push(said(second), user('And now?'));
    await ask({ messages, tools: [weather], system: 'Be brief.' });
  };
}

const oneTurn =
  (wish: Omit<Wish, 'model'>, model = 'sandbox'): Scenario =>
  async (ask) => {
    await ask(wish, model);
  };

const scenarios: Record<string, { readonly run: Scenario; readonly only?: readonly Dialect[] }> = {
  text: { run: oneTurn({ messages: [user('Hello')] }) },
  'several parts and a system text': {
    run: oneTurn({ system: 'Be brief.', messages: [user('One', 'Two'), user('Three')] }),
  },
  reasoning: { run: oneTurn({ messages: [user('Hello')] }, 'sandbox-reasoning') },
  'several messages of one answer': { run: oneTurn({ messages: [user('Hello')] }, 'sandbox-two-messages') },
  'every kind of character': {
    run: oneTurn({ messages: [user(`"${unicodeText}"\n\ndata: [DONE]\n\n`)] }, 'sandbox-unicode'),
  },
  'no text at all': { run: oneTurn({ messages: [user('Hello')] }, 'sandbox-nothing') },
  'a long answer': { run: oneTurn({ messages: [user('Hello')] }, 'sandbox-burst') },
  'usage that nobody told': { run: oneTurn({ messages: [user('Hello')] }, 'sandbox-no-usage') },
  images: {
    run: oneTurn({ messages: [user('What', { image: pixel }, 'is this?'), user({ image: pixel })] }),
  },
  'one tool call': {
    run: toolTurns(['call get_weather {"city": "Oslo", "n": [1, null, {"é": "\\"x\\""}]}'], () => ({
      text: '4 degrees',
    })),
  },
  'several tool calls': {
    run: toolTurns(['call get_weather {"city": "Oslo"}', 'call get_weather {"city": "Rome"}'], (index) => ({
      text: `${index} degrees\n"mild"`,
    })),
  },
  'a tool call in a wordy turn, one at a time': {
    // Gemini cannot ask for it.
    only: ['chat', 'responses', 'messages'],
    async run(ask) {
      await ask({
        messages: [user('call get_weather {"city": "Oslo"}\ncall get_weather {"city": "Rome"}')],
        tools: [weather],
        isParallelOff: true,
      });
    },
  },
  "a call of the upstream's own tool, which the client does not have": {
    async run(ask) {
      const model = 'sandbox-undeclared-tool';
      const messages: Said[] = [user('Hello')];
      const first = await ask({ messages, tools: [weather] }, model);
      expect(first.end).toBe('tool-calls');
      expect(first.calls).toMatchObject([{ name: 'run_shell_command', arguments: '{}' }]);
      const results = first.calls.map(({ id }) => ({ callId: id, text: 'no such tool' }));
      messages.push(said(first), { by: 'tools', results });
      const second = await ask({ messages, tools: [weather] }, model);
      expect(second.end).toMatch(/stop|tool-calls/);
    },
  },
  'an empty tool result': { run: toolTurns(['call get_weather {"city": "Oslo"}'], () => ({ text: '' })) },
  'a tool result with an image': {
    only: ['responses', 'messages', 'gemini'],
    run: toolTurns(['call get_weather {"city": "Oslo"}'], () => ({ text: 'a map', image: pixel })),
  },
  'a tool that failed': {
    only: ['messages', 'gemini'],
    run: toolTurns(['call get_weather {"city": "Oslo"}'], () => ({ text: 'no such city', isError: true })),
  },
  'a demanded tool': {
    run: oneTurn({
      messages: [user('call get_weather {"city": "Oslo"}')],
      tools: [weather],
      toolChoice: { name: 'get_weather' },
    }),
  },
  'some tool demanded': {
    run: oneTurn({
      messages: [user('call get_weather {"city": "Oslo"}')],
      tools: [weather, { ...weather, name: 'get_time' }],
      toolChoice: 'required',
    }),
  },
  'no tool wanted': {
    run: oneTurn({
      messages: [user('call get_weather {"city": "Oslo"}')],
      tools: [weather],
      toolChoice: 'none',
    }),
  },
  'a conversation of several turns': {
    async run(ask) {
      const messages: Said[] = [user('One')];
      for (const next of ['Two', 'Three', undefined]) {
        messages.push(said(await ask({ messages, system: 'Be brief.' })));
        if (next !== undefined) messages.push(user(next));
      }
    },
  },
  'a history nobody remembers, tools and images in it': {
    run: oneTurn({
      messages: [
        user('My name is Ada.', { image: pixel }),
        {
          by: 'assistant',
          text: 'Let me see.',
          calls: [{ id: 'old', name: 'get_weather', arguments: '{"city":"X"}' }],
        },
        { by: 'tools', results: [{ callId: 'old', text: 'none' }] },
        { by: 'assistant', text: 'There is none.', calls: [] },
        user('Who am I?'),
      ],
      tools: [weather],
    }),
  },
  'a token limit': { run: oneTurn({ messages: [user('one two three four five six')], maxTokens: 4 }) },
  'a limit of the upstream': { run: oneTurn({ messages: [user('Hello')] }, 'sandbox-max-tokens') },
  'a stop sequence': {
    only: ['chat', 'messages', 'gemini'],
    run: oneTurn({ messages: [user('one STOP two')], stop: ['STOP'] }),
  },
  'an answer by a schema': {
    run: oneTurn(
      {
        messages: [user('{"city": "Oslo"}')],
        schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
      },
      'sandbox-echo',
    ),
  },
};

describe('every dialect, streamed and whole, agrees about', () => {
  beforeAll(async () => {
    await services.addAccount('wk-1.good', { models: goodModels });
  });

  it.each(Object.entries(scenarios))('%s', async (_name, { run, only = dialects }) => {
    const runs = [];
    for (const way of ways.filter(({ dialect }) => only.includes(dialect))) {
      const before = services.upstream.turns.length;
      const answers: unknown[] = [];
      await run(async (wish, model = 'sandbox') => {
        const answer = await ask(way, { ...wish, model });
        answers.push(comparable(answer));
        return answer;
      });
      runs.push({ way, seen: { answers: withoutStop(answers), turns: received(before) } });
    }
    const [first, ...others] = runs;
    expect(first?.seen.turns.flatMap(({ problems }) => problems)).toEqual([]);
    for (const { way, seen } of others) expect(seen, nameOf(way)).toEqual(first?.seen);
  });
});

/** Only one dialect names the sequence. */
function withoutStop(answers: readonly unknown[]): unknown[] {
  return answers.map((answer) => {
    const { stopSequence: _, ...rest } = answer as ReadAnswer;
    return rest;
  });
}

const goodModels = [
  '',
  '-reasoning',
  '-two-messages',
  '-unicode',
  '-nothing',
  '-burst',
  '-no-usage',
  '-max-tokens',
  '-echo',
  '-undeclared-tool',
].map((name) => `sandbox${name}`);

/** Status and code in the two OpenAI dialects, status and type in Messages, of an error before any content. */
const errors: Record<string, readonly [number, string, number, string]> = {
  'error-early': [502, 'upstream_unavailable', 500, 'api_error'],
  other: [502, 'upstream_unavailable', 500, 'api_error'],
  unavailable: [503, 'model_unavailable', 529, 'overloaded_error'],
  quota: [429, 'insufficient_quota', 429, 'rate_limit_error'],
  context: [400, 'context_length_exceeded', 400, 'invalid_request_error'],
  'invalid-key': [502, 'upstream_unauthorized', 500, 'api_error'],
  'cut-early': [502, 'upstream_unavailable', 500, 'api_error'],
  'eof-early': [502, 'upstream_protocol', 500, 'api_error'],
  empty: [502, 'upstream_protocol', 500, 'api_error'],
  html: [502, 'upstream_unavailable', 500, 'api_error'],
  hang: [504, 'upstream_timeout', 500, 'api_error'],
  '429': [429, 'rate_limit_exceeded', 429, 'rate_limit_error'],
  'out-of-credits': [429, 'insufficient_quota', 429, 'rate_limit_error'],
  '400': [400, 'invalid_request_error', 400, 'invalid_request_error'],
  '401': [502, 'upstream_unauthorized', 500, 'api_error'],
  '403': [403, 'upstream_refused', 403, 'permission_error'],
  '500': [502, 'upstream_unavailable', 500, 'api_error'],
};

/** Status and word in Gemini, by the status in the dialects of OpenAI. */
const geminiErrors: Record<number, readonly [number, string]> = {
  400: [400, 'INVALID_ARGUMENT'],
  403: [403, 'PERMISSION_DENIED'],
  429: [429, 'RESOURCE_EXHAUSTED'],
  502: [503, 'UNAVAILABLE'],
  503: [503, 'UNAVAILABLE'],
  504: [504, 'DEADLINE_EXCEEDED'],
};

/** With an account that may use this model only. */
async function withOwnAccount<Value>(model: string, run: () => Promise<Value>): Promise<Value> {
  const id = await services.addAccount(`wk-${randomUUID()}`, { models: [model] });
  try {
    return await run();
  } finally {
    await services.pool(`/api/accounts/${id}`, undefined, 'DELETE');
  }
}

describe.concurrent('every dialect, streamed and whole, tells in its own words of', () => {
  it.each(Object.entries(errors))('%s', async (name, [status, code, messagesStatus, messagesType]) => {
    for (const way of ways) {
      const { dialect } = way;
      const model = `sandbox-${name}`;
      await withOwnAccount(model, async () => {
        const client = dialectClients[dialect];
        const answer = await post(way, { model, messages: [user('Hello')] });
        const read = client.readError((await answer.json()) as Record<string, unknown>);
        const expected =
          dialect === 'gemini'
            ? geminiErrors[status]
            : dialect === 'messages'
              ? [messagesStatus, messagesType]
              : [status, code];
        expect([answer.status, read.code], nameOf(way)).toEqual(expected);
        expect(answer.headers.get('x-request-id')).toMatch(/.+/);
      });
    }
  });

  it.each([
    ['stall', 'upstream_timeout', 'DEADLINE_EXCEEDED'],
    ['error', 'upstream_unavailable', 'UNAVAILABLE'],
    ['cut', 'upstream_unavailable', 'UNAVAILABLE'],
    ['eof', 'upstream_protocol', 'UNAVAILABLE'],
    ['garbage', 'upstream_protocol', 'UNAVAILABLE'],
    ['quota-late', 'insufficient_quota', 'RESOURCE_EXHAUSTED'],
  ])('a stream that breaks in the middle: %s', async (name, code, geminiWord) => {
    const model = `sandbox-${name}`;
    for (const dialect of dialects) {
      await withOwnAccount(model, async () => {
        const client = dialectClients[dialect];
        const answer = await post({ dialect, isStream: true }, { model, messages: [user('Hello')] });
        // The break came in one read with the first text: nothing had been shown yet.
        if (answer.status !== 200) return;
        const read = client.readStream(await answer.text());
        expect(read).toMatchObject({ end: 'error', calls: [] });
        expect('The first part of an answer'.startsWith(read.text) && read.text !== '').toBe(true);
        const type = code === 'insufficient_quota' ? 'rate_limit_error' : 'api_error';
        const words = { chat: code, responses: code, messages: type, gemini: geminiWord };
        expect(read.error?.code).toBe(words[dialect]);
      });
    }
  });
});

const anyJson = fc.dictionary(
  fc.string({ maxLength: 5 }).filter((key) => key !== '__proto__'),
  fc.oneof(awkwardText, fc.integer(), fc.boolean(), fc.constant(null)),
  { maxKeys: 3 },
);
const wordy = awkwardText.map((text) => `x${text}`);
const anyPart = fc.oneof(
  { weight: 4, arbitrary: wordy.map((text) => ({ text })) },
  fc.constant({ image: pixel }),
);
const anyUser = fc
  .array(anyPart, { minLength: 1, maxLength: 3 })
  .map((parts): Said => ({ by: 'user', parts }));
const anyTools = fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9_.:-]{1,20}$/), { maxLength: 3 }).map((names) =>
  names.map((name) => ({
    name,
    description: `does ${name}`,
    parameters: { type: 'object', properties: {} },
  })),
);

/** One exchange: what a user said, and what came of it. */
const anyExchange = fc
  .record({
    asked: anyUser,
    text: fc.oneof(fc.constant(''), wordy),
    calls: fc.array(fc.record({ name: fc.constantFrom('f', 'g'), input: anyJson, result: wordy }), {
      maxLength: 2,
    }),
  })
  .map(({ asked, text, calls }): ((round: number) => Said[]) => (round) => {
    const made = calls.map((call, index) => ({ ...call, id: `call-${round}-${index}` }));
    return [
      asked,
      {
        by: 'assistant',
        text: text === '' && made.length === 0 ? 'Well.' : text,
        calls: made.map(({ id, name, input }) => ({ id, name, arguments: JSON.stringify(input) })),
      },
      ...(made.length === 0
        ? []
        : [{ by: 'tools' as const, results: made.map(({ id, result }) => ({ callId: id, text: result })) }]),
    ];
  });

const anyWish: fc.Arbitrary<Wish> = fc
  .record({
    system: fc.option(wordy, { nil: undefined }),
    exchanges: fc.array(anyExchange, { maxLength: 3 }),
    last: anyUser,
    tools: anyTools,
    choice: fc.constantFrom('auto' as const, 'none' as const, 'required' as const, 'named' as const),
    isParallelOff: fc.boolean(),
    maxTokens: fc.integer({ min: 1, max: 100_000 }),
    effort: fc.constantFrom(undefined, 'low', 'high'),
    temperature: fc.constantFrom(undefined, 0, 0.5, 1),
    schema: fc.constantFrom(undefined, { type: 'object', properties: { a: { type: 'string' } } }),
  })
  .map(({ system, exchanges, last, tools, choice, effort, temperature, schema, ...rest }) => {
    const [tool] = tools;
    const toolChoice = tool === undefined ? 'auto' : choice === 'named' ? { name: tool.name } : choice;
    return {
      model: 'sandbox',
      ...rest,
      ...(system === undefined ? {} : { system }),
      ...(effort === undefined ? {} : { effort }),
      ...(temperature === undefined ? {} : { temperature }),
      ...(schema === undefined ? {} : { schema }),
      ...(tools.length === 0 ? {} : { tools, toolChoice }),
      // One dialect can turn this off only together with a choice.
      isParallelOff: rest.isParallelOff && tools.length > 0 && toolChoice !== 'none',
      messages: [...exchanges.flatMap((exchange, round) => exchange(round)), last],
    };
  });

const decoders: Record<Dialect, (body: unknown) => AskedRequest> = {
  chat: (body) => openaiChatInbound.decode(body).request,
  responses: (body) => createResponsesInbound().decode(body).request,
  messages: (body) => anthropicMessagesInbound.decode(body).request,
  gemini: (body) => createGeminiInbound({ model: 'sandbox', answer: 'whole' }).decode(body).request,
};

/** Results that follow one another are one message or several, as the dialect has it; a path is the dialect's own. */
function plainTurn({ messages, messagesParam: _, responseFormat, reasoning, wishes, ...rest }: AskedRequest) {
  const merged: AskedRequest['messages'][number][] = [];
  for (const message of messages) {
    const before = merged.at(-1);
    if (message.role === 'tool' && before?.role === 'tool') {
      merged[merged.length - 1] = { role: 'tool', parts: [...before.parts, ...message.parts] };
    } else merged.push(message);
  }
  // One dialect's client names a budget, which is as good as an effort.
  const others = wishes?.filter(({ ability }) => ability !== 'reasoningEffort');
  const turn = {
    ...rest,
    messages: merged,
    responseFormat,
    effort: reasoning.effort,
    wishes: others?.length ? others : undefined,
  };
  return JSON.parse(
    JSON.stringify(turn, (name, value: unknown) => (name === 'param' ? undefined : value)),
  ) as unknown;
}

it('any turn is the same turn, in whichever dialect it is written', () => {
  fc.assert(
    fc.property(anyWish, (wish) => {
      const [first, ...others] = dialects.map((dialect) => {
        const request = decoders[dialect](dialectClients[dialect].body(wish, false));
        // Gemini cannot ask for one call at a time.
        return plainTurn(
          dialect === 'gemini' ? { ...request, parallelToolCalls: !wish.isParallelOff } : request,
        );
      });
      for (const other of others) expect(other).toEqual(first);
    }),
    { numRuns: 50 },
  );
});
