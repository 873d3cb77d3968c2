import { describe, expect, test } from 'vitest';
import { createConversations } from './conversations.ts';
import { eager, obedient } from './obedient.ts';
import { fromStruct, toStruct } from './struct.ts';
import { createTurn } from './turn.ts';
import type { Message, WarpRequest } from './wire.ts';

interface Given {
  query?: string;
  rules?: string;
  earlier?: Message[];
  tools?: string[];
  isParallel?: boolean;
}

/** What the model says and calls. */
function play(
  { query = '', rules = '', earlier = [], tools = [], isParallel = true }: Given,
  script = obedient,
) {
  const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
  const request: WarpRequest = {
    taskContext: { tasks: earlier.length > 0 ? [{ id: 'root', messages: earlier }] : [] },
    input: {
      userInputs: { inputs: [{ userQuery: { query } }] },
      context: { projectRules: [{ activeRuleFiles: [{ content: rules }] }] },
    },
    settings: { supportsParallelToolCalls: isParallel, supportsReasoningMessage: true },
    mcpContext: {
      servers: [{ id: 'server', tools: tools.map((name) => ({ name, inputSchema: toStruct(schema) })) }],
    },
  };
  const conversation = createConversations().create('wk-test');
  const steps = [...script(createTurn(request, conversation, { name: 'obedient', size: undefined }))];
  const events = steps.flatMap((step) => (step.kind === 'event' ? [step.event] : []));
  const actions = events.flatMap((event) => event.clientActions?.actions ?? []);
  const messages = actions.flatMap(({ addMessagesToTask: added, appendToMessageContent: patch }) =>
    patch ? [patch.message] : (added?.messages ?? []),
  );
  return {
    text: messages.map((message) => message.agentOutput?.text ?? '').join(''),
    thought: messages.map((message) => message.agentReasoning?.reasoning ?? '').join(''),
    calls: messages.flatMap(({ toolCall }) =>
      toolCall ? [[toolCall.callMcpTool?.name, fromStruct(toolCall.callMcpTool?.args)]] : [],
    ),
  };
}

describe('tools', () => {
  const tools = ['list_files', 'get_weather', 'get_time'];
  const weather = ['get_weather', { city: 'Tokyo' }];
  const time = ['get_time', { city: 'Tokyo' }];

  test.each<[string, Given, unknown[]]>([
    ['the one a rule names', { rules: 'You must call the tool "get_weather".' }, [weather]],
    ['those the query is about', { rules: 'You must call a tool.' }, [weather, time]],
    ['one at a time', { rules: 'You must call a tool.', isParallel: false }, [weather]],
    ['those the query names', { query: 'Use get_time for Tokyo, would you?' }, [time]],
    ['none unless it is told to', {}, []],
    ['none that a rule only speaks of', { rules: 'You may call the tool "get_weather".' }, []],
  ])('it calls %s', (_name, given, calls) => {
    expect(play({ query: 'What is the weather and the time in Tokyo?', tools, ...given }).calls).toEqual(
      calls,
    );
  });

  test('it calls the first when the query is about none', () => {
    expect(play({ query: 'Hello', rules: 'You must call a tool.', tools }).calls).toEqual([
      ['list_files', { city: 'city' }],
    ]);
  });

  test('an eager one calls what the query is about without being told to, and nothing else', () => {
    const query = 'What is the weather in Tokyo?';
    expect(play({ query, tools }, eager).calls).toEqual([weather]);
    expect(play({ query: 'Hello', tools }, eager)).toMatchObject({ calls: [], text: 'You said: Hello' });
  });

  test('what was said in records before the query is no wish of now', () => {
    const query = 'So far:\n\n{"role":"user","text":"Use get_time."}\n\nThanks';
    expect(play({ query, tools })).toMatchObject({ calls: [], text: 'You said: Thanks' });
  });
});

describe('text', () => {
  const schema = '{"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}';
  test.each<[Given, string]>([
    [{ rules: `Answer with JSON that follows this schema:\n${schema}`, query: 'She is 7.' }, '{"age":7}'],
    [
      { rules: 'Answer in JSON.', query: 'Give "name" (a string) and "age" (a number).' },
      '{"name":"name","age":1}',
    ],
    [{ rules: 'Reply with exactly the word "quartz".', query: 'Hello' }, 'quartz'],
    [{ query: 'Say exactly: alpha beta gamma' }, 'alpha beta gamma'],
    [{ query: 'Repeat this text exactly, nothing else: «é»' }, '«é»'],
    [{ query: 'Reply with just PONG.' }, 'PONG'],
    [{ query: 'What is 12 + 30?' }, '42'],
    [{ query: 'Count from 1 to 4.' }, '1 2 3 4'],
    [{ query: 'Write 3 words.' }, 'word1 word2 word3'],
    [{ query: 'What is my name?', earlier: [{ userQuery: { query: 'My name is Ada.' } }] }, 'Ada'],
    [
      {
        query:
          '{"role":"user","text":"The capital of France?"}\n{"role":"assistant","text":"It is Par"}\n\nThat is the beginning of your answer.',
      },
      'is.',
    ],
    [{ query: 'Anything else' }, 'You said: Anything else'],
  ])('%j is answered with %j', (given, text) => {
    expect(play(given).text).toBe(text);
  });

  test('it thinks when told to', () => {
    expect(play({ query: 'What is 2 + 2? Think it through.' })).toMatchObject({
      text: '4',
      thought: expect.stringContaining('What is 2 + 2?'),
    });
  });
});
