import type { FieldTable } from '../field-table.ts';

/** Every field of a Messages request and what becomes of it. Read by the decoder and by docs/fields.md. */
export const messagesFields = {
  model: { fate: 'honoured', says: 'a model or an alias of one; an unknown name is a 404 with near names' },
  messages: { fate: 'honoured', says: 'as the blocks below tell' },
  system: { fate: 'honoured', says: 'as rules of the upstream' },
  max_tokens: { fate: 'honoured', says: 'kept by counting tokens (o200k_base)' },
  stop_sequences: { fate: 'honoured', says: 'the answer is cut before the first of them' },
  stream: { fate: 'honoured', says: 'server-sent events' },
  tools: {
    fate: 'translated',
    says: 'see the table of tools below',
  },
  'tools[].strict': {
    fate: 'ignored',
    says: 'no upstream promises it; input comes as the model wrote it',
    neutral: [false],
  },
  'tools[].defer_loading': { fate: 'translated', says: 'the tool is offered from the start' },
  'tools[].input_examples': { fate: 'ignored', says: 'no upstream has such a setting', neutral: [[]] },
  'tools[].allowed_callers': { fate: 'ignored', says: 'tools are called directly', neutral: [['direct']] },
  'tools[].eager_input_streaming': { fate: 'silent', says: 'input comes as the upstream sends it' },
  tool_choice: {
    fate: 'translated',
    says: '`none` offers no tools, and a call all the same is an error; a named tool is offered alone; an answer without the call that `any` or a name demands is sent back once and is an error the second time, a streamed one is held until it is whole; `disable_parallel_tool_use` is told to the upstream, and only the first call of an answer is passed on; the next turn then resends the whole conversation',
  },
  'thinking.type': { fate: 'honoured', says: 'thinking is shown unless it is `disabled` or left out' },
  'thinking.display': { fate: 'honoured', says: '`omitted` shows none' },
  'thinking.budget_tokens': { fate: 'ignored', says: 'the upstream thinks as long as it likes' },
  'thinking.block_binding': { fate: 'silent', says: 'thinking that comes back is never checked' },
  'output_config.effort': {
    fate: 'passed on',
    says: 'chooses the model where each effort is a model of its own, as at Warp',
  },
  'output_config.format': {
    fate: 'honoured',
    says: 'asked for in the instructions and checked; an answer that is not as asked is sent back once, a streamed one is held until it is checked',
  },
  'output_config.task_budget': { fate: 'ignored', says: 'no upstream has such a setting' },
  output_format: { fate: 'honoured', says: 'the former name of `output_config.format`' },
  temperature: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  top_p: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  top_k: { fate: 'ignored', says: 'no upstream has such a setting' },
  context_management: {
    fate: 'ignored',
    says: 'nothing is cleared from a conversation: the model sees all that is sent',
    neutral: [{}, { edits: [] }],
  },
  container: { fate: 'ignored', says: 'nothing is run here that would need one; with `skills` a 400' },
  fallbacks: { fate: 'ignored', says: 'the operator decides what answers for a model' },
  fallback_credit_token: { fate: 'ignored', says: 'no credit is given for it' },
  diagnostics: { fate: 'ignored', says: 'there are none' },
  speed: { fate: 'ignored', says: 'there is one speed', neutral: ['standard'] },
  inference_geo: {
    fate: 'refused',
    says: 'where an upstream computes cannot be chosen here: leave it out',
    neutral: ['global', 'not_available'],
  },
  mcp_servers: {
    fate: 'refused',
    says: 'servers cannot be reached from here: offer their tools in tools',
    neutral: [[]],
  },
  compaction: {
    fate: 'refused',
    says: 'conversations are not summarised here: ask for a summary in a message',
  },
  thread: {
    fate: 'refused',
    says: 'threads are not kept here; send the whole conversation',
    neutral: [false],
  },
  metadata: { fate: 'silent', says: 'not passed on' },
  'metadata.user_id': { fate: 'honoured', says: 'not passed on; turns with one user_id prefer one account' },
  cache_control: { fate: 'silent', says: 'accepted anywhere; the upstream keeps caches as it likes' },
  service_tier: { fate: 'silent', says: 'there is one tier' },
  billing_policy: { fate: 'silent', says: 'not passed on' },
  user_profile_id: { fate: 'silent', says: 'not passed on' },
  workspace_id: { fate: 'silent', says: 'not passed on' },
  betas: { fate: 'silent', says: 'as in the header `anthropic-beta`: any is accepted' },
} as const satisfies FieldTable;

/** What the messages of a Messages request may hold. Shown in docs/fields.md. */
export const messagesBlocks = {
  text: { fate: 'honoured', says: 'everywhere; citations in it have no effect' },
  image: {
    fate: 'honoured',
    says: 'as base64, or as an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `file` cannot be shown',
  },
  'document with source text or content': {
    fate: 'translated',
    says: 'travels as text, with its title and context in front, and with its images',
  },
  'document with source base64, url or file': {
    fate: 'refused',
    says: 'only plain text and images can be shown: take the text out of this one first',
  },
  search_result: { fate: 'translated', says: 'travels as text, with title and source in front' },
  tool_use: { fate: 'honoured', says: 'the model is told of a call whose result never comes' },
  tool_result: {
    fate: 'honoured',
    says: 'of text, images, documents and search results; a new one without its call before it is a 400',
  },
  tool_reference: {
    fate: 'translated',
    says: 'in the result of a tool: tells the model that it may use the tool',
  },
  'thinking, redacted_thinking': {
    fate: 'silent',
    says: 'accepted with any signature; what the model thought is told again only to an upstream that signed it (`reasoning_details` of a compatible vendor), whose proof travels in our signature',
  },
  compaction: {
    fate: 'translated',
    says: 'its summary travels as text; one that is encrypted only cannot be shown',
  },
  'server_tool_use, mcp_tool_use and their results': {
    fate: 'ignored',
    says: 'what a provider’s own tools left in an answer; the text around it stays',
  },
  'mcp_tool_listing, fallback': { fate: 'ignored', says: 'what a provider left in an answer' },
  container_upload: {
    fate: 'refused',
    says: 'cannot be shown, as there are no containers here: send the text of the file',
  },
  'system messages': {
    fate: 'honoured',
    says: 'become rules for the whole conversation, wherever they stand; with `clear_at: "next_user_message"` only until then',
  },
  'tool_addition, tool_removal in system messages': {
    fate: 'honoured',
    says: 'the last one of a tool decides whether it is offered; a tool may be defined there; those of servers are ignored',
  },
} as const satisfies FieldTable;
