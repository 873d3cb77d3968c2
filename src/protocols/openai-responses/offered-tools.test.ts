import { expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { decodeResponsesRequest, parseResponsesRequest } from './decode-request.ts';
import { encodeResponsesAnswer } from './encode-answer.ts';

const identity = { id: 'resp_0', created: 0, now: () => 0, model: 'auto' };
const look = { type: 'function', name: 'look' };
const files = { type: 'namespace', name: 'files', tools: [look, { type: 'custom', name: 'edit' }] };
const user = { role: 'user', content: 'Hello' };

function decode(body: object) {
  return decodeResponsesRequest(parseResponsesRequest({ model: 'auto', input: 'Hello', ...body }));
}

it('lets a choice name a whole namespace', () => {
  const tools = [look, files, { type: 'shell' }];
  const namespace = { type: 'namespace', name: 'files' };
  const { request } = decode({ tools, tool_choice: namespace });
  expect(request.toolChoice).toEqual({ type: 'required' });
  expect(request.tools.map(({ name }) => name)).toEqual(['files__look', 'files__edit']);
  const allowed = { type: 'allowed_tools', mode: 'auto', tools: [namespace, { type: 'shell' }] };
  expect(decode({ tools, tool_choice: allowed }).request.tools.map(({ name }) => name)).toEqual([
    'files__look',
    'files__edit',
    'shell',
  ]);
});

it('prefers the tool whose whole name a choice gives', () => {
  const { request } = decode({ tools: [files, look], tool_choice: look });
  expect(request.toolChoice).toEqual({ type: 'tool', name: 'look' });
});

it('refuses an item that brings tools of the provider alone, while it is new', () => {
  const brings = { type: 'additional_tools', role: 'developer', tools: [{ type: 'web_search' }] };
  expect(() => decode({ input: [brings, user] })).toThrow(
    /^input\.0\.tools\.0\.type: "web_search" is run by/,
  );
  const later = [brings, user, { role: 'assistant', content: 'Hi' }, user];
  expect(decode({ input: later }).ignored).toEqual(['tools.web_search']);
  expect(decode({ input: [brings, user], tools: [look] }).ignored).toEqual(['tools.web_search']);
});

it('calls no function of the client with arguments that were meant for a tool of the dialect', () => {
  const { options } = decode({ tools: [{ type: 'function', name: 'shell' }, { type: 'shell' }] });
  const call = { id: 'c', name: 'shell_2', arguments: '{"bad":1}' };
  const answer = {
    text: '',
    reasoning: '',
    toolCalls: [call],
    usage: undefined,
    finishReason: 'tool-calls',
  } as const;
  expect(encodeResponsesAnswer(identity, answer, options)['output']).toMatchObject([
    { type: 'function_call', name: 'shell_2' },
  ]);
});

it('keeps long names out of its errors', () => {
  const long = 'x'.repeat(100_000);
  for (const body of [
    { tools: [look], tool_choice: { type: 'function', name: long } },
    { tools: [look], tool_choice: { type: long } },
    { tools: [{ type: long }] },
    { input: [{ type: `${long}_call` }] },
  ]) {
    let thrown: unknown;
    try {
      decode(body);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(AppError);
    expect((thrown as AppError).message.length).toBeLessThan(300);
  }
});

it('finds the call of a local shell by either of its ids', () => {
  const action = { type: 'exec', command: ['date'] };
  const call = { type: 'local_shell_call', id: 'lsh_1', call_id: 'c', action };
  for (const id of ['lsh_1', 'c']) {
    const input = [user, call, { type: 'local_shell_call_output', id, output: 'x' }];
    expect(decode({ input }).request.messages.at(-1)).toMatchObject({ parts: [{ callId: 'c', text: 'x' }] });
  }
});

it.each(['computer', 'computer_use', 'computer_use_preview'])('knows a computer chosen as %s', (type) => {
  const choice = { tool_choice: { type }, tools: [look, { type: 'computer' }] };
  expect(decode(choice).request.toolChoice).toEqual({ type: 'tool', name: 'computer' });
  expect(() => decode({ ...choice, tools: [look] })).toThrow(/does not offer|not a type of tool/);
});

it('lets a patch create an empty file', () => {
  const { options } = decode({ tools: [{ type: 'apply_patch' }] });
  const call = { id: 'c', name: 'apply_patch', arguments: '{"type":"create_file","path":"a"}' };
  const answer = {
    text: '',
    reasoning: '',
    toolCalls: [call],
    usage: undefined,
    finishReason: 'tool-calls',
  } as const;
  expect(encodeResponsesAnswer(identity, answer, options)['output']).toMatchObject([
    { type: 'apply_patch_call', operation: { type: 'create_file', path: 'a', diff: '' } },
  ]);
});

it.each([5, null, {}, undefined])('says what the input has to be: %s', (input) => {
  expect(() => decode({ input })).toThrow(/^input: .*must be a string or a list of items/);
});

it('offers what a search found without the tools that cannot be read', () => {
  const search = { type: 'tool_search', execution: 'client' };
  const call = { type: 'tool_search_call', call_id: 's', execution: 'client', arguments: {} };
  const found = (tools: unknown) =>
    decode({ tools: [search], input: [user, call, { type: 'tool_search_output', call_id: 's', tools }] });
  const { request, ignored } = found([look, { type: 'function', name: 'bad name' }, null, { name: 'x' }]);
  expect(request.tools.map(({ name }) => name)).toEqual(['tool_search', 'look']);
  expect(request.messages.at(-1)).toMatchObject({
    parts: [{ callId: 's', text: expect.stringContaining('- look') }],
  });
  expect(ignored).toEqual(['tools.unreadable']);
  expect(found('none').request.messages.at(-1)).toMatchObject({ parts: [{ text: 'No tools were found.' }] });
});
