import { describe, expect, it } from 'vitest';
import { decodeMessagesRequest } from './decode-request.ts';

function decode(body: object) {
  return decodeMessagesRequest({
    model: 'auto',
    max_tokens: 10,
    messages: [{ role: 'user', content: 'Hello' }],
    ...body,
  });
}

const read = { name: 'read', input_schema: { type: 'object', properties: {} } };

const propertiesOf = (tool: object) => {
  const { parameters } = decode({ tools: [tool] }).request.tools[0] ?? {};
  return parameters?.['properties'] as Record<string, { enum?: string[] }>;
};

describe('a tool that the client runs', () => {
  it.each([
    ['bash_20241022', 'bash', ['command', 'restart']],
    ['bash_20250124', 'bash', ['command', 'restart']],
    ['bash_20990101', 'bash', ['command', 'restart']],
    ['text_editor_20241022', 'str_replace_editor', ['command', 'path', 'new_str']],
    ['text_editor_20250429', 'str_replace_based_edit_tool', ['command', 'path', 'insert_text']],
    ['text_editor_20250728', 'str_replace_based_edit_tool', ['command', 'path', 'insert_text']],
    ['memory_20250818', 'memory', ['command', 'path', 'old_path', 'new_path', 'insert_text']],
    ['computer_20241022', 'computer', ['action', 'coordinate', 'text']],
    ['computer_20251124', 'computer', ['action', 'coordinate', 'scroll_direction', 'duration']],
  ])('%s is offered with the documented input', (type, name, properties) => {
    const { request, ignored } = decode({ tools: [{ type, name }] });
    expect(request.tools).toMatchObject([{ name, description: expect.any(String) }]);
    expect(Object.keys(propertiesOf({ type, name }))).toEqual(expect.arrayContaining(properties));
    expect(ignored).toEqual([]);
    const choice = { type: 'tool', name };
    expect(decode({ tools: [{ type, name }, read], tool_choice: choice }).request.toolChoice).toEqual(choice);
  });

  it('has what its version can do', () => {
    expect(propertiesOf({ type: 'computer_20251124', enable_zoom: true })['action']?.enum).toContain('zoom');
    expect(propertiesOf({ type: 'computer_20250124' })['action']?.enum).not.toContain('zoom');
    expect(propertiesOf({ type: 'computer_20241022' })['action']?.enum).not.toContain('scroll');
    const screen = { type: 'computer_20250124', display_width_px: 1280, display_height_px: 800 };
    expect(decode({ tools: [screen] }).request.tools[0]?.description).toContain('1280 pixels wide and 800');
    expect(propertiesOf({ type: 'text_editor_20250124' })['command']?.enum).toContain('undo_edit');
  });

  it.each(['computer_toolset_20260801', 'browser_toolset_20260801'])('%s is refused by name', (type) => {
    expect(() => decode({ tools: [read, { type }] })).toThrowError(
      expect.objectContaining({ param: 'tools.1.type', message: expect.stringContaining(type) }),
    );
  });

  it('is offered although its loading was deferred', () => {
    const tools = [
      read,
      { ...read, name: 'later', defer_loading: true },
      { type: 'tool_search_tool_bm25_20251119' },
    ];
    const { request, ignored } = decode({ tools });
    expect(request.tools.map(({ name }) => name)).toEqual(['read', 'later']);
    expect(ignored).toEqual(['tools.tool_search_tool_bm25_20251119']);
  });
});

describe('a tool that the provider would run', () => {
  it.each([
    ['web_search_20250305', 'web_search'],
    ['web_search_20260318', 'web_search'],
    ['web_fetch_20250910', 'web_fetch'],
    ['code_execution_20260521', 'code_execution'],
    ['tool_search_tool_regex', 'tool_search_tool_regex'],
    ['advisor_20260301', 'advisor'],
    ['mcp_toolset', undefined],
    ['tool_of_tomorrow_20300101', 'tomorrow'],
  ])('%s is named beside others, and refused by name alone or when demanded', (type, name) => {
    const tool = { type, name };
    expect(decode({ tools: [tool, read] }).ignored).toEqual([`tools.${type}`]);
    const refused = (body: object, param: string) =>
      expect(() => decode(body)).toThrowError(
        expect.objectContaining({ code: 'invalid_request', param, message: expect.stringContaining(type) }),
      );
    refused({ tools: [tool] }, 'tools.0.type');
    refused({ tools: [tool], tool_choice: { type: 'any' } }, 'tools.0.type');
    if (name) refused({ tools: [tool, read], tool_choice: { type: 'tool', name } }, 'tool_choice.name');
    expect(decode({ tools: [tool], tool_choice: { type: 'none' } }).ignored).toEqual([`tools.${type}`]);
  });

  it('is refused too where it comes as servers or skills', () => {
    const servers = [{ type: 'url', name: 'x', url: 'https://example.org' }];
    expect(() => decode({ mcp_servers: servers })).toThrowError(
      expect.objectContaining({ param: 'mcp_servers' }),
    );
    const container = { skills: [{ type: 'anthropic', skill_id: 'pptx', version: 'latest' }] };
    expect(() => decode({ container })).toThrowError(expect.objectContaining({ param: 'container.skills' }));
    expect(decode({ container: { id: 'x' } }).ignored).toEqual(['container']);
  });
});
