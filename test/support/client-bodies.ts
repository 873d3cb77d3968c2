import { pixel } from '../../src/core/testing/pixel.ts';
import type { Dialect } from './stream-grammar.ts';

const parameters = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  properties: {
    path: { type: 'string', description: 'A file' },
    limit: { type: ['integer', 'null'], minimum: 0 },
    mode: { enum: ['r', 'w'] },
  },
  required: ['path'],
  additionalProperties: false,
};

/** What real clients send, all their fields in few bodies: agents, SDKs, and the shapes of theirs that look odd. */
export const clientBodies: Readonly<Record<Dialect, readonly Record<string, unknown>[]>> = {
  chat: [
    {
      model: 'sandbox',
      stream: true,
      stream_options: { include_usage: true },
      messages: [
        { role: 'developer', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is it?' },
            { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}`, detail: 'high' } },
          ],
        },
        {
          role: 'assistant',
          content: null,
          reasoning_content: 'I will look.',
          refusal: null,
          annotations: [],
          tool_calls: [
            { id: 'call_1', type: 'function', function: { name: 'read', arguments: '{"path":"a"}' } },
            { id: 'call_2', type: 'function', function: { name: 'read', arguments: '{"path":"b"}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'call_1', name: 'read', content: 'one' },
        { role: 'tool', tool_call_id: 'call_2', content: [{ type: 'text', text: 'two' }] },
        { role: 'user', content: 'call read {"path": "c"}' },
      ],
      tools: [
        {
          type: 'function',
          function: { name: 'read', description: 'Reads a file', parameters, strict: false },
        },
        { type: 'function', function: { name: 'list' } },
      ],
      tool_choice: 'auto',
      parallel_tool_calls: true,
      max_tokens: 32_000,
      temperature: 0,
      top_p: 0.95,
      frequency_penalty: 0,
      presence_penalty: 0,
      reasoning_effort: 'medium',
      store: false,
    },
    {
      model: 'sandbox',
      messages: [
        { role: 'system', content: [{ type: 'text', text: 'Be brief.' }] },
        { role: 'user', content: 'Hello' },
        { role: 'assistant', content: 'Hi.' },
        { role: 'user', content: 'And?' },
      ],
      max_completion_tokens: 500,
      n: 1,
      stop: ['STOP', '\n\n\n'],
      seed: 7,
      user: 'someone',
      metadata: { a: 'b' },
      service_tier: 'auto',
      prompt_cache_key: 'k',
      safety_identifier: 's',
      verbosity: 'low',
      logit_bias: {},
      logprobs: false,
      response_format: { type: 'text' },
    },
  ],
  responses: [
    {
      model: 'sandbox',
      stream: true,
      instructions: 'You are an agent.',
      input: [
        { type: 'message', role: 'developer', content: [{ type: 'input_text', text: 'Be brief.' }] },
        {
          type: 'message',
          role: 'user',
          content: [
            { type: 'input_text', text: '<image>' },
            { type: 'input_image', image_url: `data:image/png;base64,${pixel}`, detail: 'high' },
          ],
        },
        {
          type: 'reasoning',
          id: 'rs_1',
          summary: [{ type: 'summary_text', text: 'Look.' }],
          content: null,
          encrypted_content: 'opaque',
        },
        {
          type: 'function_call',
          id: 'fc_1',
          call_id: 'call_1',
          name: 'shell',
          arguments: '{"command":"ls"}',
          status: 'completed',
        },
        { type: 'function_call_output', call_id: 'call_1', output: 'a b' },
        { type: 'custom_tool_call', call_id: 'call_2', name: 'apply_patch', input: '*** Begin' },
        { type: 'custom_tool_call_output', call_id: 'call_2', output: 'done' },
        {
          type: 'message',
          role: 'assistant',
          id: 'msg_1',
          status: 'completed',
          content: [{ type: 'output_text', text: 'There.', annotations: [] }],
        },
        { role: 'user', content: 'call shell {"command": "pwd"}' },
      ],
      tools: [
        { type: 'function', name: 'shell', description: 'Runs', strict: false, parameters },
        { type: 'custom', name: 'apply_patch', format: { type: 'grammar', syntax: 'lark', definition: 'x' } },
        { type: 'namespace', name: 'mcp', tools: [{ type: 'function', name: 'read', parameters }] },
        { type: 'web_search', external_web_access: false },
      ],
      tool_choice: 'auto',
      parallel_tool_calls: true,
      reasoning: { effort: 'medium', summary: 'auto' },
      store: false,
      include: ['reasoning.encrypted_content'],
      prompt_cache_key: 'k',
      text: { verbosity: 'low' },
      client_metadata: { a: 'b' },
    },
    {
      model: 'sandbox',
      input: 'Hello',
      temperature: 0.5,
      top_p: 1,
      max_output_tokens: 500,
      truncation: 'disabled',
      metadata: { a: 'b' },
      text: { format: { type: 'text' } },
      user: 'someone',
    },
  ],
  messages: [
    {
      model: 'sandbox',
      max_tokens: 32_000,
      stream: true,
      system: [
        { type: 'text', text: 'You are an agent.', cache_control: { type: 'ephemeral' } },
        { type: 'text', text: 'Be brief.' },
      ],
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is it?' },
            { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } },
          ],
        },
        { role: 'system', content: 'A reminder.' },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'Look.', signature: 'opaque' },
            { type: 'redacted_thinking', data: 'opaque' },
            { type: 'text', text: 'I will look.' },
            { type: 'tool_use', id: 'toolu_1', name: 'Read', input: { path: 'a' } },
          ],
        },
        {
          role: 'user',
          content: [
            {
              type: 'tool_result',
              tool_use_id: 'toolu_1',
              is_error: true,
              content: [
                { type: 'text', text: 'none' },
                { type: 'image', source: { type: 'base64', media_type: 'image/png', data: pixel } },
              ],
              cache_control: { type: 'ephemeral' },
            },
            { type: 'text', text: 'call Read {"path": "b"}' },
          ],
        },
      ],
      tools: [
        {
          name: 'Read',
          description: 'Reads',
          input_schema: parameters,
          cache_control: { type: 'ephemeral' },
        },
        { type: 'custom', name: 'Deferred', input_schema: { type: 'object' }, defer_loading: true },
        { type: 'web_search_20250305', name: 'web_search', max_uses: 8 },
      ],
      tool_choice: { type: 'auto', disable_parallel_tool_use: false },
      metadata: { user_id: '{"session_id":"1"}' },
      thinking: { type: 'adaptive', display: 'omitted' },
      output_config: { effort: 'medium' },
      context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
    },
    {
      model: 'sandbox',
      max_tokens: 500,
      system: 'Be brief.',
      messages: [
        { role: 'user', content: 'Hello' },
        { role: 'assistant', content: 'Hi.' },
        { role: 'user', content: 'And?' },
      ],
      temperature: 1,
      top_p: 0.9,
      top_k: 5,
      stop_sequences: ['STOP'],
      service_tier: 'auto',
      thinking: { type: 'enabled', budget_tokens: 1_024 },
    },
  ],
  gemini: [
    {
      contents: [
        {
          role: 'user',
          parts: [
            { text: 'What is it?' },
            { inlineData: { mimeType: 'image/png', data: pixel, displayName: 'it.png' } },
          ],
        },
        {
          role: 'model',
          parts: [
            { text: 'Let me look.', thought: true },
            {
              functionCall: { name: 'read', args: { path: 'a' } },
              thoughtSignature: 'skip_thought_signature_validator',
            },
            { functionCall: { id: 'call_2', name: 'read', args: { path: 'b' } } },
          ],
        },
        {
          role: 'user',
          parts: [
            { functionResponse: { name: 'read', response: { output: 'one' } } },
            { functionResponse: { id: 'call_2', name: 'read', response: { error: 'none' } } },
          ],
        },
        { role: 'user', parts: [{ text: 'call read {"path": "c"}' }] },
      ],
      systemInstruction: { role: 'user', parts: [{ text: 'Be brief.' }] },
      tools: [
        {
          functionDeclarations: [
            { name: 'read', description: 'Reads a file', parametersJsonSchema: parameters },
            {
              name: 'list',
              parameters: { type: 'OBJECT', properties: { a: { type: 'STRING', nullable: true } } },
            },
          ],
        },
        { googleSearch: {} },
      ],
      toolConfig: { functionCallingConfig: { mode: 'AUTO' } },
      generationConfig: {
        temperature: 1,
        topP: 0.95,
        topK: 64,
        maxOutputTokens: 32_000,
        thinkingConfig: { includeThoughts: true, thinkingBudget: 8_192 },
      },
      safetySettings: [{ category: 'HARM_CATEGORY_HATE_SPEECH', threshold: 'BLOCK_NONE' }],
    },
    {
      contents: [{ parts: [{ text: 'Hello' }] }],
      systemInstruction: { parts: { text: 'Be brief.' } },
      generationConfig: {
        stopSequences: ['STOP'],
        candidateCount: 1,
        responseMimeType: 'text/plain',
        seed: 7,
      },
      labels: { a: 'b' },
    },
  ],
};
