import type { FieldTable } from '../field-table.ts';

/** Every field of a Chat Completions request and what becomes of it. Read by the decoder and by docs/fields.md. */
export const chatFields = {
  model: { fate: 'honoured', says: 'a model or an alias of one; an unknown name is a 404 with near names' },
  messages: { fate: 'honoured', says: 'as the parts below tell' },
  stream: { fate: 'honoured', says: 'server-sent events' },
  'stream_options.include_usage': { fate: 'honoured', says: 'usage in a last chunk of its own' },
  'stream_options.include_obfuscation': { fate: 'silent', says: 'chunks are never padded' },
  tools: {
    fate: 'translated',
    says: 'see the table of tools below',
  },
  'tools[].function.strict': {
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
  max_completion_tokens: {
    fate: 'honoured',
    says: 'kept by counting tokens (o200k_base); the answer ends with `length`',
  },
  max_tokens: { fate: 'honoured', says: 'as `max_completion_tokens`, which wins where both are sent' },
  stop: { fate: 'honoured', says: 'the answer is cut before the first of them' },
  response_format: {
    fate: 'honoured',
    says: '`json_object` and `json_schema` are asked for in the instructions and checked; an answer that is not as asked is sent back once and is an error the second time, a streamed one is held until it is checked, and one cut by a limit or `stop` is passed on as it is; keywords of a schema that cannot be checked (a `pattern` of another regex dialect, a `format` or a remote `$ref`) are named in `x-warp2api-ignored`',
  },
  temperature: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  top_p: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  seed: { fate: 'passed on', says: 'Warp and Oz have no such setting' },
  presence_penalty: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [0] },
  frequency_penalty: { fate: 'passed on', says: 'Warp and Oz have no such setting', neutral: [0] },
  reasoning_effort: {
    fate: 'passed on',
    says: 'chooses the model where each effort is a model of its own, as at Warp; `none` shows no reasoning',
  },
  verbosity: { fate: 'ignored', says: 'no upstream has such a setting', neutral: ['medium'] },
  prediction: { fate: 'ignored', says: 'it could only make an answer faster' },
  service_tier: { fate: 'ignored', says: 'there is one tier', neutral: ['auto', 'default'] },
  n: {
    fate: 'honoured',
    says: 'one turn each, side by side, as many as `MAX_CHOICES` allows (1 unless the operator sets it, then more is a 400); usage is the sum',
  },
  logprobs: { fate: 'refused', says: 'no log probabilities are given: leave it out', neutral: [false] },
  top_logprobs: { fate: 'refused', says: 'no log probabilities are given: leave it out', neutral: [0] },
  logit_bias: { fate: 'refused', says: 'no upstream takes token biases: leave it out', neutral: [{}] },
  modalities: {
    fate: 'refused',
    says: 'only text can be answered: send ["text"] or leave it out',
    neutral: [['text'], []],
  },
  audio: { fate: 'refused', says: 'only text can be answered: leave it out' },
  web_search_options: {
    fate: 'refused',
    says: 'no upstream is asked to search: leave it out, or offer a tool that searches',
  },
  moderation: { fate: 'refused', says: 'nothing is moderated here: leave it out' },
  functions: { fate: 'refused', says: 'is deprecated: send tools instead', neutral: [[]] },
  function_call: {
    fate: 'refused',
    says: 'is deprecated: send tool_choice instead',
    neutral: ['none', 'auto'],
  },
  store: { fate: 'silent', says: 'nothing is stored' },
  metadata: { fate: 'silent', says: 'belongs to what is stored' },
  user: { fate: 'silent', says: 'not passed on' },
  safety_identifier: { fate: 'silent', says: 'not passed on' },
  prompt_cache_key: { fate: 'honoured', says: 'turns with one key prefer one account' },
  prompt_cache_options: { fate: 'silent', says: 'the upstream keeps caches as it likes' },
  prompt_cache_retention: { fate: 'silent', says: 'the upstream keeps caches as it likes' },
} as const satisfies FieldTable;

/** What the messages of a Chat Completions request may hold. Shown in docs/fields.md. */
export const chatParts = {
  'system and developer messages': { fate: 'translated', says: 'become rules of the upstream' },
  'text in messages of every role': { fate: 'honoured', says: 'a string, or a list of text parts' },
  'image_url in user and tool messages': {
    fate: 'honoured',
    says: 'a data URL, or an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `detail` has no effect',
  },
  'file in user and tool messages': {
    fate: 'translated',
    says: '`file_data` of a text file travels as text with its name in front, of an image as an image; all else, and `file_id`, cannot be shown',
  },
  'input_audio in user messages': { fate: 'refused', says: 'cannot be shown: send its text' },
  'name in user messages': { fate: 'translated', says: 'stands in front of the text' },
  'name in other messages': { fate: 'silent', says: 'no effect' },
  'refusal in assistant messages': { fate: 'honoured', says: 'the text, where there is no other' },
  'reasoning_content, reasoning, reasoning_details in assistant messages': {
    fate: 'silent',
    says: 'accepted; what the model thought is not told to it again',
  },
  'annotations in assistant messages': { fate: 'silent', says: 'no effect' },
  'audio in assistant messages': {
    fate: 'translated',
    says: 'a note replaces an answer that has nothing else: send its text as content',
  },
  'tool_calls in assistant messages': {
    fate: 'honoured',
    says: 'functions and custom tools; the model is told of a call whose result never comes',
  },
  'tool messages': {
    fate: 'honoured',
    says: 'the result of a call; a new one without that call before it is a 400',
  },
  'function_call in assistant messages, function messages': {
    fate: 'translated',
    says: 'read as tool_calls and tool messages',
  },
} as const satisfies FieldTable;
