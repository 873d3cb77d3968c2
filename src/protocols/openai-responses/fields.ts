import type { FieldTable } from '../field-table.ts';

/** Every field of a Responses request and what becomes of it. Read by the decoder and by docs/fields.md. */
export const responsesFields = {
  model: { fate: 'honoured', says: 'a model or an alias of one; an unknown name is a 404 with near names' },
  input: {
    fate: 'honoured',
    says: 'text or items: messages, calls and their outputs (functions, custom tools, shells, patches), reasoning, compactions made here, references to items of stored responses; an output without its call is refused',
  },
  instructions: { fate: 'honoured', says: 'as rules of the upstream, for this request only' },
  previous_response_id: { fate: 'honoured', says: 'a stored response of the same client key' },
  store: { fate: 'honoured', says: 'unless false the response can be looked up and continued' },
  stream: { fate: 'honoured', says: 'server-sent events' },
  'stream_options.include_obfuscation': { fate: 'silent', says: 'events are never padded' },
  tools: {
    fate: 'translated',
    says: 'see the table of tools below; items of the input may add further ones',
  },
  'tools[].strict': {
    fate: 'ignored',
    says: 'no upstream promises it; arguments come as the model wrote them',
    neutral: [false],
  },
  tool_choice: {
    fate: 'translated',
    says: '`none` offers no tools, and a call all the same is an error; `allowed_tools` offers those it names; a named tool is offered alone; an answer without the call that `required` or a name demands is sent back once and is an error the second time, a streamed one is held until it is whole',
  },
  parallel_tool_calls: {
    fate: 'honoured',
    says: 'told to the upstream; with `false` only the first call of an answer is passed on; the next turn then resends the whole conversation',
  },
  max_output_tokens: {
    fate: 'honoured',
    says: 'kept by counting tokens (o200k_base); the response ends as `incomplete`',
  },
  'text.format': {
    fate: 'honoured',
    says: 'asked for in the instructions and checked; an answer that is not as asked is sent back once and is an error the second time, a streamed one is held until it is checked, and one cut by a limit is passed on as it is',
  },
  'text.verbosity': { fate: 'ignored', says: 'no upstream has such a setting', neutral: ['medium'] },
  temperature: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  top_p: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  presence_penalty: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [0] },
  frequency_penalty: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [0] },
  'reasoning.effort': {
    fate: 'passed on',
    says: 'chooses the model where each effort is a model of its own, as at Warp; `none` shows no reasoning',
  },
  'reasoning.summary': { fate: 'silent', says: 'what the model shows of its reasoning is always answered' },
  'reasoning.generate_summary': { fate: 'silent', says: 'the former name of `reasoning.summary`' },
  'reasoning.context': { fate: 'ignored', says: 'the upstream decides', neutral: ['auto'] },
  'reasoning.mode': { fate: 'ignored', says: 'there is one mode', neutral: ['standard'] },
  metadata: {
    fate: 'honoured',
    says: 'repeated in the response; at most 16 pairs, keys of 64 and values of 512 characters',
  },
  user: { fate: 'silent', says: 'repeated in the response, not passed on' },
  safety_identifier: { fate: 'silent', says: 'repeated in the response, not passed on' },
  prompt_cache_key: {
    fate: 'honoured',
    says: 'repeated in the response; turns with one key prefer one account',
  },
  prompt_cache_options: { fate: 'silent', says: 'the upstream keeps caches as it likes' },
  prompt_cache_retention: { fate: 'silent', says: 'the upstream keeps caches as it likes' },
  client_metadata: { fate: 'silent', says: 'not passed on' },
  include: {
    fate: 'ignored',
    says: 'a response holds what it has without asking, and nothing that only the provider could add',
    neutral: [[], ['reasoning.encrypted_content']],
  },
  truncation: {
    fate: 'ignored',
    says: 'the upstream decides what of a long history the model sees',
    neutral: ['disabled'],
  },
  context_management: { fate: 'ignored', says: 'no history is compacted unasked', neutral: [[]] },
  max_tool_calls: {
    fate: 'silent',
    says: 'limits tools that the provider runs, and there are none; repeated in the response',
  },
  service_tier: { fate: 'ignored', says: 'there is one tier', neutral: ['auto', 'default'] },
  access_programs: { fate: 'ignored', says: 'there are none' },
  'image.context_compression': {
    fate: 'ignored',
    says: 'images are sent as they are',
    neutral: ['auto', 'disabled'],
  },
  background: {
    fate: 'honoured',
    says: 'the answer is the response as queued (or its events); it has to be stored, and can be looked up, followed and cancelled',
  },
  conversation: {
    fate: 'refused',
    says: 'is not kept here: use previous_response_id, or send the history',
  },
  prompt: { fate: 'refused', says: 'stored prompts are not kept here: send the text' },
  top_logprobs: { fate: 'refused', says: 'no log probabilities are given: leave it out', neutral: [0] },
  moderation: { fate: 'refused', says: 'nothing is moderated here: leave it out' },
} as const satisfies FieldTable;

/** What the input of a Responses request may hold. Shown in docs/fields.md. */
export const responsesItems = {
  message: {
    fate: 'honoured',
    says: 'of every role; system and developer messages become rules of the upstream',
  },
  'input_text, output_text, refusal': { fate: 'honoured', says: 'text' },
  input_image: {
    fate: 'honoured',
    says: 'in messages of the user and in outputs; a data URL, or an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `file_id` cannot be shown',
  },
  input_file: {
    fate: 'translated',
    says: '`file_data` of a text file travels as text with its name in front, of an image as an image; all else cannot be shown',
  },
  'function_call, custom_tool_call, local_shell_call, shell_call, apply_patch_call, computer_call, tool_search_call':
    {
      fate: 'honoured',
      says: 'a call without its output gets a note for the model',
    },
  'the outputs of these calls': { fate: 'honoured', says: 'a new one without the call before it is a 400' },
  'additional_tools, tool_search_output': {
    fate: 'honoured',
    says: 'their tools are offered like those of `tools`, now and in later turns of the conversation; 4,096 in all',
  },
  reasoning: {
    fate: 'silent',
    says: 'accepted; what the model thought is told again only to an upstream that signed it, whose proof travels sealed in `encrypted_content`',
  },
  'compaction, compaction_summary': {
    fate: 'translated',
    says: 'made here for the same key: its summary travels as text; any other cannot be shown',
  },
  item_reference: {
    fate: 'honoured',
    says: 'an item of a stored response of the same key; a note replaces one that is no longer kept',
  },
  configuration_update: {
    fate: 'honoured',
    says: 'its effort and text format hold from there on; the last one wins over the fields of the request',
  },
  agent_message: {
    fate: 'translated',
    says: 'a message between agents of Codex, as text of the user',
  },
  compaction_trigger: {
    fate: 'honoured',
    says: 'as the last item: the response is one `compaction` item that holds a summary of the conversation',
  },
  'calls and outputs of tools that a provider runs': {
    fate: 'ignored',
    says: 'what they left in a history; the text around them stays. A 400 where one is the only new input',
  },
} as const satisfies FieldTable;
