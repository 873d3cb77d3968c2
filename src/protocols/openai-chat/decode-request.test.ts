import { describe, expect, it } from 'vitest';
import { atBareUpstream } from '../../core/testing/bare-upstream.ts';
import { decodeChatRequest, hasFlatTools } from './decode-request.ts';

const user = { role: 'user', content: 'Hello' };
const decode = (more: Record<string, unknown>) =>
  atBareUpstream(decodeChatRequest({ model: 'm', messages: [user], ...more }));

function refusal(more: Record<string, unknown>): unknown {
  try {
    decode(more);
  } catch (error) {
    return error;
  }
  return undefined;
}

const readTool = { type: 'function', function: { name: 'read', parameters: { type: 'object' } } };
const patchTool = {
  type: 'custom',
  custom: {
    name: 'patch',
    description: 'Changes files',
    format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'start: "x"' } },
  },
};

it.each([
  [
    { reasoning_effort: 'low', reasoning: { effort: 'high' } },
    { effort: 'low', isAsked: true },
  ],
  [{ reasoning: { effort: 'high', exclude: false } }, { effort: 'high', isAsked: true }],
  [{ reasoning: { effort: 'none' } }, { effort: 'none' }],
  [{ reasoning: { max_tokens: 2_000 } }, { budgetTokens: 2_000, isAsked: true }, 'reasoning.max_tokens'],
  [{ reasoning: { enabled: true } }, { isAsked: true }],
  [{ reasoning: { enabled: false } }, { budgetTokens: 0 }],
  [
    { thinking: { type: 'enabled', budget_tokens: 2_000 } },
    { budgetTokens: 2_000, isAsked: true },
    'thinking.budget_tokens',
  ],
  [{ thinking: { type: 'disabled' } }, { budgetTokens: 0 }],
  [{ reasoning: null, thinking: null }, {}],
])('reads %j as other vendors mean it', (more, reasoning, ignored?: string) => {
  const decoded = decode(more);
  expect(decoded.request.reasoning).toEqual(reasoning);
  // By an upstream without such a setting.
  expect(decoded.ignored).toEqual(ignored === undefined ? [] : [ignored]);
});

it('takes what is no such object for an unknown field', () => {
  expect(decode({ reasoning: 'high', thinking: 1 }).request.reasoning).toEqual({});
  expect(decode({ reasoning: { effort: 'low', exclude: true, odd: 1 } }).ignored).toEqual([
    'reasoning.exclude',
    'reasoning.odd',
  ]);
});

it('takes every value that asks for nothing without a word', () => {
  const neutral = {
    n: 1,
    logprobs: false,
    top_logprobs: 0,
    presence_penalty: 0,
    frequency_penalty: 0,
    logit_bias: {},
    modalities: ['text'],
    functions: [],
    function_call: 'none',
    service_tier: 'auto',
    verbosity: 'medium',
    parallel_tool_calls: true,
    store: true,
    metadata: { a: 'b' },
    user: null,
    safety_identifier: 'me',
    prompt_cache_key: 'k',
    prompt_cache_retention: '24h',
    stream_options: { include_usage: true, include_obfuscation: false },
    audio: null,
    prediction: null,
    web_search_options: null,
    moderation: null,
    stop: null,
    tools: null,
    tool_choice: null,
    response_format: null,
  };
  expect(decode(neutral).ignored).toEqual([]);
});

it('names what tunes nothing here', () => {
  const { ignored } = decode({
    verbosity: 'low',
    service_tier: 'flex',
    prediction: { type: 'content', content: 'x' },
    stream_options: { include_everything: true },
    top_k: 5,
  });
  expect(ignored).toEqual([
    'verbosity',
    'service_tier',
    'prediction',
    'stream_options.include_everything',
    'top_k',
  ]);
});

it.each([
  [{ n: 0 }, 'n'],
  [{ logprobs: true }, 'logprobs'],
  [{ top_logprobs: 3 }, 'top_logprobs'],
  [{ logit_bias: { 50256: -100 } }, 'logit_bias'],
  [{ modalities: ['text', 'audio'] }, 'modalities'],
  [{ audio: { voice: 'ash', format: 'mp3' } }, 'audio'],
  [{ web_search_options: {} }, 'web_search_options'],
  [{ moderation: { model: 'omni-moderation-latest' } }, 'moderation'],
  [{ functions: [{ name: 'read' }] }, 'functions'],
  [{ function_call: { name: 'read' } }, 'function_call'],
  [{ messages: [] }, 'messages'],
  [{ messages: 'Hello' }, 'messages'],
  [{ messages: [{ role: 'robot', content: 'x' }] }, 'messages.0.role'],
  [{ tools: [{ type: 'web_search' }] }, 'tools.0.type'],
  [{ tools: [{ type: 'function', function: { name: 'a b' } }] }, 'tools.0.function.name'],
  [{ tool_choice: 'required' }, 'tool_choice'],
  [{ tool_choice: 'always' }, 'tool_choice'],
  [{ tools: [readTool], tool_choice: { type: 'function', function: { name: 'gone' } } }, 'tool_choice'],
  [{ tools: [readTool], tool_choice: { type: 'custom', custom: { name: 'gone' } } }, 'tool_choice'],
  [{ tools: [readTool], tool_choice: { type: 'function', name: 'gone' } }, 'tool_choice'],
  [{ tool_choice: { type: 'function', name: 'gone' } }, 'tool_choice'],
  [
    {
      tools: [readTool],
      tool_choice: {
        type: 'allowed_tools',
        allowed_tools: { mode: 'auto', tools: [{ type: 'function', function: { name: 'gone' } }] },
      },
    },
    'tool_choice.allowed_tools.tools',
  ],
])('%j is refused with the name of the parameter', (more, param) => {
  expect(refusal(more)).toMatchObject({ code: 'invalid_request', param });
});

describe('tools', () => {
  it('that are custom are offered as functions of one text, with the grammar told', () => {
    const { request, options } = decode({ tools: [readTool, patchTool] });
    expect(request.tools).toEqual([
      { name: 'read', parameters: { type: 'object' } },
      {
        name: 'patch',
        description: 'Changes files\n\nThe input must follow this grammar:\nstart: "x"',
        parameters: expect.objectContaining({ required: ['input'] }),
      },
    ]);
    expect([...options.customTools]).toEqual(['patch']);
  });

  it('can be chosen by name, custom ones too', () => {
    const choice = (tool_choice: unknown) => decode({ tools: [readTool, patchTool], tool_choice }).request;
    expect(choice({ type: 'custom', custom: { name: 'patch' } }).toolChoice).toEqual({
      type: 'tool',
      name: 'patch',
    });
    expect(choice('none').toolChoice).toEqual({ type: 'none' });
    expect(choice({ type: 'function', name: 'read' }).toolChoice).toEqual({ type: 'tool', name: 'read' });
    expect(choice({ type: 'custom', name: 'patch' }).toolChoice).toEqual({ type: 'tool', name: 'patch' });
  });

  it.each([
    [{ allowed_tools: { mode: 'required', tools: [{ type: 'custom', custom: { name: 'patch' } }] } }],
    // As Responses have it, and half so.
    [{ mode: 'required', tools: [{ type: 'custom', name: 'patch' }] }],
    [{ allowed_tools: { mode: 'required', tools: [{ type: 'custom', name: 'patch' }] } }],
  ])('that are not allowed are not offered: %j', (allowed) => {
    const body = { tools: [readTool, patchTool], tool_choice: { type: 'allowed_tools', ...allowed } };
    const { request } = decode(body);
    expect(request.tools.map(({ name }) => name)).toEqual(['patch']);
    expect(request.toolChoice).toEqual({ type: 'required' });
    // A server of Chat Completions would refuse the flat forms.
    const isNested = JSON.stringify(allowed).includes('"custom":');
    expect(hasFlatTools(body)).toBe(!isNested);
  });

  it('a choice of none that is allowed is refused', () => {
    expect(refusal({ tools: [readTool], tool_choice: { type: 'allowed_tools', tools: [] } })).toMatchObject({
      code: 'invalid_request',
    });
  });
});

it('lets max_completion_tokens win, and leaves out empty stop sequences', () => {
  const { limits } = decode({ max_tokens: 5, max_completion_tokens: 7, stop: ['', 'END'] }).request;
  expect(limits).toEqual({ maxOutputTokens: 7, stopSequences: ['END'] });
  expect(decode({ stop: '' }).request.limits).toEqual({});
});

it('names its session by prompt_cache_key, whatever else that may hold', () => {
  expect(decode({ prompt_cache_key: 'key' }).affinityKey).toBe('key');
  for (const odd of [undefined, null, '']) {
    expect(decode({ prompt_cache_key: odd }).affinityKey).toBeUndefined();
  }
});
