import {
  type FieldTable,
  honoured,
  ignored,
  passedOn,
  refused,
  silent,
  translated,
} from '../shared/field-table.ts';

/** Every field of a Messages request and what becomes of it. Read by the decoder and by docs/fields.md. */
export const messagesFields = {
  model: honoured('a model or an alias of one; an unknown name is a 404 with near names'),
  messages: honoured('as the blocks below tell'),
  system: honoured(
    'as rules of the upstream, but for the line with which Claude Code tells Anthropic whom to bill',
  ),
  max_tokens: honoured('kept by counting tokens (o200k_base)'),
  stop_sequences: honoured('the answer is cut before the first of them'),
  stream: honoured('server-sent events'),
  tools: translated('see the table of tools below'),
  'tools[].strict': ignored('Warp and Oz do not promise it; input comes as the model wrote it', {
    neutral: [false],
    wish: 'strictTools',
  }),
  'tools[].defer_loading': translated('the tool is offered from the start'),
  'tools[].input_examples': ignored('no upstream has such a setting', { neutral: [[]] }),
  'tools[].allowed_callers': ignored('tools are called directly', { neutral: [['direct']] }),
  'tools[].eager_input_streaming': silent('input comes as the upstream sends it'),
  tool_choice: translated(
    '`none` offers no tools, and a call anyway is an error; a named tool is offered alone; an answer without the call that `any` or a name demands is sent back once and is an error the second time, a streamed one is held until it is whole; `disable_parallel_tool_use` is passed to the upstream, and only the first call of an answer is passed on; the next turn then resends the whole conversation',
  ),
  'thinking.type': honoured('thinking is shown unless it is `disabled` or left out'),
  'thinking.display': honoured('`omitted` shows no words of it, and signs it'),
  'thinking.budget_tokens': ignored(
    'an upstream that has budgets or efforts takes it; others think as long as they like',
    { wish: 'reasoningEffort' },
  ),
  'thinking.block_binding': silent('thinking that comes back is never checked'),
  'output_config.effort': passedOn('chooses the model where each effort is a model of its own, as at Warp'),
  'output_config.format': honoured(
    'asked for in the instructions and checked; an answer that is not as asked is sent back once, a streamed one is held until it is checked',
  ),
  'output_config.task_budget': ignored('no upstream has such a setting'),
  output_format: honoured('the former name of `output_config.format`'),
  temperature: passedOn('Warp and Oz have no such setting', { neutral: [1] }),
  top_p: passedOn('Warp and Oz have no such setting', { neutral: [1] }),
  top_k: ignored('Warp and Oz have no such setting', { wish: 'topK' }),
  context_management: ignored('nothing is cleared from a conversation: the model sees all that is sent', {
    neutral: [{}, { edits: [] }, { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] }],
  }),
  container: ignored('nothing is run here that would need one; with `skills` a 400'),
  fallbacks: ignored('the operator decides what answers for a model'),
  fallback_credit_token: ignored('no credit is given for it'),
  diagnostics: ignored('there are none'),
  speed: ignored('there is one speed', { neutral: ['standard'] }),
  inference_geo: refused('where an upstream computes cannot be chosen here: leave it out', {
    neutral: ['global', 'not_available'],
  }),
  mcp_servers: refused('servers cannot be reached from here: offer their tools in tools', { neutral: [[]] }),
  compaction: refused('conversations are not summarised here: ask for a summary in a message'),
  thread: refused('threads are not kept here; send the whole conversation', { neutral: [false] }),
  metadata: silent('not passed on'),
  'metadata.user_id': honoured('not passed on; turns with one user_id prefer one account'),
  cache_control: silent(
    'accepted anywhere; passed to an upstream that has such marks, others keep caches as they like',
  ),
  service_tier: silent('there is one tier'),
  billing_policy: silent('not passed on'),
  user_profile_id: silent('not passed on'),
  workspace_id: silent('not passed on'),
  betas: silent('as in the header `anthropic-beta`: any is accepted'),
} as const satisfies FieldTable;

/** What the messages of a Messages request may hold. Shown in docs/fields.md. */
export const messagesBlocks = {
  text: honoured('everywhere; citations in it have no effect'),
  image: honoured(
    'as base64, or as an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `file` cannot be shown',
  ),
  'document with source text or content': translated(
    'travels as text, with its title and context in front, and with its images',
  ),
  'document with source base64': translated(
    'a text file or an image travels as such, a PDF as a document where the upstream takes those; all else cannot be shown',
  ),
  'document with source url or file': refused('only files that are in the request can be shown'),
  search_result: translated('travels as text, with title and source in front'),
  tool_use: honoured('a call without a result gets one that says so'),
  tool_result: honoured(
    'of text, images, documents and search results; `is_error` is said in words to upstreams of OpenAI’s dialects, which have no field for it; a new one without its call before it is a 400',
  ),
  tool_reference: translated('in the result of a tool: tells the model that it may use the tool'),
  'thinking, redacted_thinking': silent(
    'accepted with any signature; what the model thought is sent back only to the upstream that signed it, whose proof travels in our signature',
  ),
  compaction: translated('its summary travels as text; one that is encrypted only cannot be shown'),
  'server_tool_use, mcp_tool_use and their results': ignored(
    'what a provider’s own tools left in an answer; the text around it stays',
  ),
  'mcp_tool_listing, fallback': ignored('what a provider left in an answer'),
  container_upload: refused('cannot be shown, as there are no containers here: send the text of the file'),
  'system messages': honoured(
    'become rules for the whole conversation, wherever they stand; with `clear_at: "next_user_message"` only until then',
  ),
  'tool_addition, tool_removal in system messages': honoured(
    'the last one of a tool decides whether it is offered; a tool may be defined there; those of servers are ignored',
  ),
} as const satisfies FieldTable;
