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
    says: 'tools of the client; those that the provider would run are left out and named',
  },
  'tools[].strict': {
    fate: 'ignored',
    says: 'no upstream promises it; input comes as the model wrote it',
    neutral: [false],
  },
  tool_choice: {
    fate: 'translated',
    says: '`none` offers no tools, and a call all the same is an error; a named tool is offered alone; an answer without the call that `any` or a name demands is sent back once and is an error the second time, a streamed one is held until it is whole; `disable_parallel_tool_use` is told to the upstream, and only the first call of an answer is passed on; its conversation is then told anew with the next turn',
  },
  'thinking.type': { fate: 'honoured', says: 'thinking is shown unless it is `disabled` or left out' },
  'thinking.display': { fate: 'honoured', says: '`omitted` shows none' },
  'thinking.budget_tokens': { fate: 'ignored', says: 'the upstream thinks as long as it likes' },
  'thinking.block_binding': { fate: 'silent', says: 'thinking that comes back is never checked' },
  'output_config.effort': { fate: 'passed on', says: 'Warp has no such setting' },
  'output_config.format': {
    fate: 'honoured',
    says: 'asked for in the instructions and checked; an answer that is not as asked is sent back once, a streamed one is held until it is checked',
  },
  'output_config.task_budget': { fate: 'ignored', says: 'no upstream has such a setting' },
  output_format: { fate: 'honoured', says: 'the former name of `output_config.format`' },
  temperature: { fate: 'passed on', says: 'Warp has no such setting', neutral: [1] },
  top_p: { fate: 'passed on', says: 'Warp has no such setting', neutral: [1] },
  top_k: { fate: 'ignored', says: 'no upstream has such a setting' },
  context_management: {
    fate: 'ignored',
    says: 'nothing is cleared from a conversation: the model sees all that is sent',
    neutral: [{}, { edits: [] }],
  },
  container: { fate: 'ignored', says: 'nothing is run here that would need one' },
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
  cache_control: { fate: 'silent', says: 'accepted anywhere; the upstream keeps caches as it likes' },
  service_tier: { fate: 'silent', says: 'there is one tier' },
  billing_policy: { fate: 'silent', says: 'not passed on' },
  user_profile_id: { fate: 'silent', says: 'not passed on' },
  workspace_id: { fate: 'silent', says: 'not passed on' },
  betas: { fate: 'silent', says: 'as in the header `anthropic-beta`: any is accepted' },
} as const satisfies FieldTable;
