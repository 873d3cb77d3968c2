import { describe, expect, it } from 'vitest';
import { AppError } from '../../core/errors.ts';
import { decodeMessagesRequest } from './decode-request.ts';

const user = { role: 'user', content: 'Hello' };
const decode = (more: Record<string, unknown>) =>
  decodeMessagesRequest({ model: 'm', max_tokens: 10, messages: [user], ...more });

describe('a request', () => {
  it('has its system text in front, wherever the client put it', () => {
    const { request } = decode({
      system: 'first',
      messages: [{ role: 'system', content: [{ type: 'text', text: 'second' }] }, user],
    });
    expect(request.messages.map(({ role }) => role)).toEqual(['system', 'system', 'user']);
  });

  it('has the results of tools before what the user says beside them', () => {
    const { request } = decode({
      messages: [
        { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'read', input: { a: 1 } }] },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'and?' },
            { type: 'tool_result', tool_use_id: 't', is_error: true },
          ],
        },
      ],
    });
    expect(request.messages).toEqual([
      { role: 'assistant', parts: [{ type: 'tool-call', id: 't', name: 'read', arguments: '{"a":1}' }] },
      { role: 'tool', parts: [{ type: 'tool-result', callId: 't', text: '', isError: true }] },
      { role: 'user', parts: [{ type: 'text', text: 'and?' }] },
    ]);
  });

  it('maps the choice of tools', () => {
    const tools = [{ name: 'read', input_schema: { type: 'object' } }];
    const choice = (tool_choice: unknown) => decode({ tools, tool_choice }).request;
    expect(choice({ type: 'any', disable_parallel_tool_use: true })).toMatchObject({
      toolChoice: { type: 'required' },
      parallelToolCalls: false,
    });
    expect(choice({ type: 'tool', name: 'read' }).toolChoice).toEqual({ type: 'tool', name: 'read' });
    expect(choice({ type: 'none' }).toolChoice).toEqual({ type: 'none' });
  });

  it('leaves out empty stop sequences, which would end every answer', () => {
    expect(decode({ stop_sequences: ['', 'END'] }).request.limits.stopSequences).toEqual(['END']);
    expect(decode({ stop_sequences: [''] }).request.limits.stopSequences).toBeUndefined();
  });
});

it.each([
  [{ max_tokens: undefined }, 'max_tokens'],
  [{ messages: [] }, 'messages'],
  [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages.0.role'],
  [{ temperature: 1.5 }, 'temperature'],
  [{ mcp_servers: [{}] }, 'mcp_servers'],
  [{ output_config: { format: { type: 'json_schema' } } }, 'output_config.format.schema'],
  [{ output_config: { format: { type: 'xml' } } }, 'output_config.format'],
  [{ tool_choice: { type: 'tool', name: 'gone' } }, 'tool_choice'],
  [{ tool_choice: { type: 'any' } }, 'tool_choice'],
  [
    { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'ftp://x' } }] }] },
    'messages.0.content.0.source',
  ],
  [
    {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'AA' } },
          ],
        },
      ],
    },
    'messages.0.content.0.source',
  ],
])('%j is refused with the name of the parameter', (more, param) => {
  try {
    decode(more);
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({ code: 'invalid_request', param });
  }
});
