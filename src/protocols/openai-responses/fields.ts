import type { FieldTable } from '../shared/field-table.ts';

/** Every field of a Responses request and what becomes of it. Read by the decoder and by docs/fields.md. */
export const responsesFields = {
  model: {
    handling: 'honoured',
    says: 'a model or an alias of one; an unknown name is a 404 with near names',
  },
  input: {
    handling: 'honoured',
    says: 'text or items: messages, calls and their outputs (functions, custom tools, shells, patches), reasoning, compactions made here, references to items of stored responses; an output without its call is refused',
  },
  instructions: { handling: 'honoured', says: 'as rules of the upstream, for this request only' },
  previous_response_id: { handling: 'honoured', says: 'a stored response of the same client key' },
  store: { handling: 'honoured', says: 'unless false the response can be looked up and continued' },
  stream: { handling: 'honoured', says: 'server-sent events' },
  'stream_options.include_obfuscation': { handling: 'silent', says: 'events are never padded' },
  tools: {
    handling: 'translated',
    says: 'see the table of tools below; items of the input may add further ones',
  },
  'tools[].strict': {
    wish: 'strictTools',
    handling: 'ignored',
    says: 'no upstream promises it; arguments come as the model wrote them',
    neutral: [false],
  },
  tool_choice: {
    handling: 'translated',
    says: '`none` offers no tools, and a call all the same is an error; `allowed_tools` offers those it names; a named tool is offered alone; an answer without the call that `required` or a name demands is sent back once and is an error the second time, a streamed one is held until it is whole',
  },
  parallel_tool_calls: {
    handling: 'honoured',
    says: 'told to the upstream; with `false` only the first call of an answer is passed on; the next turn then resends the whole conversation',
  },
  max_output_tokens: {
    handling: 'honoured',
    says: 'kept by counting tokens (o200k_base); the response ends as `incomplete`',
  },
  'text.format': {
    handling: 'honoured',
    says: 'asked for in the instructions and checked; an answer that is not as asked is sent back once and is an error the second time, a streamed one is held until it is checked, and one cut by a limit is passed on as it is',
  },
  'text.verbosity': {
    wish: 'openai.verbosity',
    handling: 'ignored',
    says: 'no upstream has such a setting',
    neutral: ['medium'],
  },
  temperature: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  top_p: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  presence_penalty: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [0] },
  frequency_penalty: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [0] },
  'reasoning.effort': {
    handling: 'passed on',
    says: 'chooses the model where each effort is a model of its own, as at Warp; `none` shows no reasoning',
  },
  'reasoning.summary': {
    handling: 'silent',
    says: 'what the model shows of its reasoning is always answered',
  },
  'reasoning.generate_summary': { handling: 'silent', says: 'the former name of `reasoning.summary`' },
  'reasoning.context': { handling: 'ignored', says: 'the upstream decides', neutral: ['auto'] },
  'reasoning.mode': { handling: 'ignored', says: 'there is one mode', neutral: ['standard'] },
  metadata: {
    handling: 'honoured',
    says: 'repeated in the response; at most 16 pairs, keys of 64 and values of 512 characters',
  },
  user: { wish: 'openai.user', handling: 'silent', says: 'repeated in the response, not passed on' },
  safety_identifier: {
    wish: 'openai.safety_identifier',
    handling: 'silent',
    says: 'repeated in the response, not passed on',
  },
  prompt_cache_key: {
    wish: 'openai.prompt_cache_key',
    handling: 'honoured',
    says: 'repeated in the response; turns with one key prefer one account',
  },
  prompt_cache_options: {
    wish: 'openai.prompt_cache_options',
    handling: 'silent',
    says: 'the upstream keeps caches as it likes',
  },
  prompt_cache_retention: {
    wish: 'openai.prompt_cache_retention',
    handling: 'silent',
    says: 'the upstream keeps caches as it likes',
  },
  client_metadata: { handling: 'silent', says: 'not passed on' },
  include: {
    handling: 'ignored',
    says: 'a response holds what it has without asking, and nothing that only the provider could add',
    neutral: [[], ['reasoning.encrypted_content']],
  },
  truncation: {
    handling: 'ignored',
    says: 'the upstream decides what of a long history the model sees',
    neutral: ['disabled'],
  },
  context_management: { handling: 'ignored', says: 'no history is compacted unasked', neutral: [[]] },
  max_tool_calls: {
    handling: 'silent',
    says: 'limits tools that the provider runs, and there are none; repeated in the response',
  },
  service_tier: {
    wish: 'openai.service_tier',
    handling: 'ignored',
    says: 'there is one tier',
    neutral: ['auto', 'default'],
  },
  access_programs: { handling: 'ignored', says: 'there are none' },
  'image.context_compression': {
    handling: 'ignored',
    says: 'images are sent as they are',
    neutral: ['auto', 'disabled'],
  },
  background: {
    handling: 'honoured',
    says: 'the answer is the response as queued (or its events); it has to be stored, and can be looked up, followed and cancelled',
  },
  conversation: {
    handling: 'refused',
    says: 'is not kept here: use previous_response_id, or send the history',
  },
  prompt: { handling: 'refused', says: 'stored prompts are not kept here: send the text' },
  top_logprobs: { handling: 'refused', says: 'no log probabilities are given: leave it out', neutral: [0] },
  moderation: { handling: 'refused', says: 'nothing is moderated here: leave it out' },
} as const satisfies FieldTable;

/** What the input of a Responses request may hold. Shown in docs/fields.md. */
export const responsesItems = {
  message: {
    handling: 'honoured',
    says: 'of every role; system and developer messages become rules of the upstream',
  },
  'input_text, output_text, refusal': { handling: 'honoured', says: 'text' },
  input_image: {
    handling: 'honoured',
    says: 'in messages of the user and in outputs; a data URL, or an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `file_id` cannot be shown',
  },
  input_file: {
    handling: 'translated',
    says: '`file_data` of a text file travels as text with its name in front, of an image as an image, and a PDF as a document where the upstream takes those; all else cannot be shown',
  },
  'function_call, custom_tool_call, local_shell_call, shell_call, apply_patch_call, computer_call, tool_search_call':
    {
      handling: 'honoured',
      says: 'a call without its output gets a note for the model',
    },
  'the outputs of these calls': {
    handling: 'honoured',
    says: 'a new one without the call before it is a 400',
  },
  'additional_tools, tool_search_output': {
    handling: 'honoured',
    says: 'their tools are offered like those of `tools`, now and in later turns of the conversation; 4,096 in all',
  },
  reasoning: {
    handling: 'silent',
    says: 'accepted; what the model thought is sent back only to the upstream that signed it, whose proof travels sealed in `encrypted_content`',
  },
  'compaction, compaction_summary': {
    handling: 'translated',
    says: 'made here for the same key: its summary travels as text; any other cannot be shown',
  },
  item_reference: {
    handling: 'honoured',
    says: 'an item of a stored response of the same key; a note replaces one that is no longer kept',
  },
  configuration_update: {
    handling: 'honoured',
    says: 'its effort and text format hold from there on; the last one wins over the fields of the request',
  },
  agent_message: {
    handling: 'translated',
    says: 'a message between agents of Codex, as text of the user',
  },
  compaction_trigger: {
    handling: 'honoured',
    says: 'as the last item: the response is one `compaction` item that holds a summary of the conversation',
  },
  'calls and outputs of tools that a provider runs': {
    handling: 'ignored',
    says: 'what they left in a history; the text around them stays. A 400 where one is the only new input',
  },
} as const satisfies FieldTable;
