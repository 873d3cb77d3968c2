import type { FieldTable } from '../shared/field-table.ts';

/** Every field of a Messages request and what becomes of it. Read by the decoder and by docs/fields.md. */
export const messagesFields = {
  model: {
    handling: 'honoured',
    says: 'a model or an alias of one; an unknown name is a 404 with near names',
  },
  messages: { handling: 'honoured', says: 'as the blocks below tell' },
  system: { handling: 'honoured', says: 'as rules of the upstream' },
  max_tokens: { handling: 'honoured', says: 'kept by counting tokens (o200k_base)' },
  stop_sequences: { handling: 'honoured', says: 'the answer is cut before the first of them' },
  stream: { handling: 'honoured', says: 'server-sent events' },
  tools: {
    handling: 'translated',
    says: 'see the table of tools below',
  },
  'tools[].strict': {
    wish: 'strictTools',
    handling: 'ignored',
    says: 'no upstream promises it; input comes as the model wrote it',
    neutral: [false],
  },
  'tools[].defer_loading': { handling: 'translated', says: 'the tool is offered from the start' },
  'tools[].input_examples': { handling: 'ignored', says: 'no upstream has such a setting', neutral: [[]] },
  'tools[].allowed_callers': {
    handling: 'ignored',
    says: 'tools are called directly',
    neutral: [['direct']],
  },
  'tools[].eager_input_streaming': { handling: 'silent', says: 'input comes as the upstream sends it' },
  tool_choice: {
    handling: 'translated',
    says: '`none` offers no tools, and a call all the same is an error; a named tool is offered alone; an answer without the call that `any` or a name demands is sent back once and is an error the second time, a streamed one is held until it is whole; `disable_parallel_tool_use` is told to the upstream, and only the first call of an answer is passed on; the next turn then resends the whole conversation',
  },
  'thinking.type': { handling: 'honoured', says: 'thinking is shown unless it is `disabled` or left out' },
  'thinking.display': { handling: 'honoured', says: '`omitted` shows none' },
  'thinking.budget_tokens': { handling: 'ignored', says: 'the upstream thinks as long as it likes' },
  'thinking.block_binding': { handling: 'silent', says: 'thinking that comes back is never checked' },
  'output_config.effort': {
    handling: 'passed on',
    says: 'chooses the model where each effort is a model of its own, as at Warp',
  },
  'output_config.format': {
    handling: 'honoured',
    says: 'asked for in the instructions and checked; an answer that is not as asked is sent back once, a streamed one is held until it is checked',
  },
  'output_config.task_budget': { handling: 'ignored', says: 'no upstream has such a setting' },
  output_format: { handling: 'honoured', says: 'the former name of `output_config.format`' },
  temperature: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  top_p: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  top_k: { wish: 'topK', handling: 'ignored', says: 'no upstream has such a setting' },
  context_management: {
    handling: 'ignored',
    says: 'nothing is cleared from a conversation: the model sees all that is sent',
    neutral: [{}, { edits: [] }],
  },
  container: { handling: 'ignored', says: 'nothing is run here that would need one; with `skills` a 400' },
  fallbacks: { handling: 'ignored', says: 'the operator decides what answers for a model' },
  fallback_credit_token: { handling: 'ignored', says: 'no credit is given for it' },
  diagnostics: { handling: 'ignored', says: 'there are none' },
  speed: { handling: 'ignored', says: 'there is one speed', neutral: ['standard'] },
  inference_geo: {
    handling: 'refused',
    says: 'where an upstream computes cannot be chosen here: leave it out',
    neutral: ['global', 'not_available'],
  },
  mcp_servers: {
    handling: 'refused',
    says: 'servers cannot be reached from here: offer their tools in tools',
    neutral: [[]],
  },
  compaction: {
    handling: 'refused',
    says: 'conversations are not summarised here: ask for a summary in a message',
  },
  thread: {
    handling: 'refused',
    says: 'threads are not kept here; send the whole conversation',
    neutral: [false],
  },
  metadata: { handling: 'silent', says: 'not passed on' },
  'metadata.user_id': {
    handling: 'honoured',
    says: 'not passed on; turns with one user_id prefer one account',
  },
  cache_control: {
    handling: 'silent',
    says: 'accepted anywhere; told to an upstream that has such marks, and others keep caches as they like',
  },
  service_tier: { handling: 'silent', says: 'there is one tier' },
  billing_policy: { handling: 'silent', says: 'not passed on' },
  user_profile_id: { handling: 'silent', says: 'not passed on' },
  workspace_id: { handling: 'silent', says: 'not passed on' },
  betas: { handling: 'silent', says: 'as in the header `anthropic-beta`: any is accepted' },
} as const satisfies FieldTable;

/** What the messages of a Messages request may hold. Shown in docs/fields.md. */
export const messagesBlocks = {
  text: { handling: 'honoured', says: 'everywhere; citations in it have no effect' },
  image: {
    handling: 'honoured',
    says: 'as base64, or as an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `file` cannot be shown',
  },
  'document with source text or content': {
    handling: 'translated',
    says: 'travels as text, with its title and context in front, and with its images',
  },
  'document with source base64': {
    handling: 'translated',
    says: 'a text file or an image travels as such, a PDF as a document where the upstream takes those; all else cannot be shown',
  },
  'document with source url or file': {
    handling: 'refused',
    says: 'only files that are in the request can be shown',
  },
  search_result: { handling: 'translated', says: 'travels as text, with title and source in front' },
  tool_use: { handling: 'honoured', says: 'a call without a result gets one that says so' },
  tool_result: {
    handling: 'honoured',
    says: 'of text, images, documents and search results; a new one without its call before it is a 400',
  },
  tool_reference: {
    handling: 'translated',
    says: 'in the result of a tool: tells the model that it may use the tool',
  },
  'thinking, redacted_thinking': {
    handling: 'silent',
    says: 'accepted with any signature; what the model thought is sent back only to the upstream that signed it (`reasoning_details` of a compatible vendor), whose proof travels in our signature',
  },
  compaction: {
    handling: 'translated',
    says: 'its summary travels as text; one that is encrypted only cannot be shown',
  },
  'server_tool_use, mcp_tool_use and their results': {
    handling: 'ignored',
    says: 'what a provider’s own tools left in an answer; the text around it stays',
  },
  'mcp_tool_listing, fallback': { handling: 'ignored', says: 'what a provider left in an answer' },
  container_upload: {
    handling: 'refused',
    says: 'cannot be shown, as there are no containers here: send the text of the file',
  },
  'system messages': {
    handling: 'honoured',
    says: 'become rules for the whole conversation, wherever they stand; with `clear_at: "next_user_message"` only until then',
  },
  'tool_addition, tool_removal in system messages': {
    handling: 'honoured',
    says: 'the last one of a tool decides whether it is offered; a tool may be defined there; those of servers are ignored',
  },
} as const satisfies FieldTable;
