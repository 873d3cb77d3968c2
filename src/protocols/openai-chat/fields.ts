import type { FieldTable } from '../shared/field-table.ts';

/** Every field of a Chat Completions request and what becomes of it. Read by the decoder and by docs/fields.md. */
export const chatFields = {
  model: {
    handling: 'honoured',
    says: 'a model or an alias of one; an unknown name is a 404 with near names',
  },
  messages: { handling: 'honoured', says: 'as the parts below tell' },
  stream: { handling: 'honoured', says: 'server-sent events' },
  'stream_options.include_usage': { handling: 'honoured', says: 'usage in a last chunk of its own' },
  'stream_options.include_obfuscation': { handling: 'silent', says: 'chunks are never padded' },
  tools: {
    handling: 'translated',
    says: 'see the table of tools below',
  },
  'tools[].function.strict': {
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
  max_completion_tokens: {
    handling: 'honoured',
    says: 'kept by counting tokens (o200k_base); the answer ends with `length`',
  },
  max_tokens: { handling: 'honoured', says: 'as `max_completion_tokens`, which wins where both are sent' },
  stop: { handling: 'honoured', says: 'the answer is cut before the first of them' },
  response_format: {
    handling: 'honoured',
    says: '`json_object` and `json_schema` are asked for in the instructions and checked; an answer that is not as asked is sent back once and is an error the second time, a streamed one is held until it is checked, and one cut by a limit or `stop` is passed on as it is; keywords of a schema that cannot be checked (a `pattern` of another regex dialect, a `format` or a remote `$ref`) are named in `x-warp2api-ignored`',
  },
  temperature: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  top_p: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [1] },
  seed: { handling: 'passed on', says: 'Warp and Oz have no such setting' },
  presence_penalty: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [0] },
  frequency_penalty: { handling: 'passed on', says: 'Warp and Oz have no such setting', neutral: [0] },
  reasoning_effort: {
    handling: 'passed on',
    says: 'chooses the model where each effort is a model of its own, as at Warp; `none` shows no reasoning',
  },
  verbosity: {
    wish: 'openai.verbosity',
    handling: 'ignored',
    says: 'no upstream has such a setting',
    neutral: ['medium'],
  },
  prediction: { wish: 'openai.prediction', handling: 'ignored', says: 'it could only make an answer faster' },
  service_tier: {
    wish: 'openai.service_tier',
    handling: 'ignored',
    says: 'there is one tier',
    neutral: ['auto', 'default'],
  },
  n: {
    handling: 'honoured',
    says: 'one turn each, side by side, as many as `MAX_CHOICES` allows (1 unless the operator sets it, then more is a 400); usage is the sum',
  },
  logprobs: { handling: 'refused', says: 'no log probabilities are given: leave it out', neutral: [false] },
  top_logprobs: { handling: 'refused', says: 'no log probabilities are given: leave it out', neutral: [0] },
  logit_bias: {
    wish: 'openai.logit_bias',
    handling: 'refused',
    says: 'no upstream takes token biases: leave it out',
    neutral: [{}],
  },
  modalities: {
    handling: 'refused',
    says: 'only text can be answered: send ["text"] or leave it out',
    neutral: [['text'], []],
  },
  audio: { handling: 'refused', says: 'only text can be answered: leave it out' },
  web_search_options: {
    handling: 'refused',
    says: 'no upstream is asked to search: leave it out, or offer a tool that searches',
  },
  moderation: { handling: 'refused', says: 'nothing is moderated here: leave it out' },
  functions: { handling: 'refused', says: 'is deprecated: send tools instead', neutral: [[]] },
  function_call: {
    handling: 'refused',
    says: 'is deprecated: send tool_choice instead',
    neutral: ['none', 'auto'],
  },
  store: { handling: 'silent', says: 'nothing is stored' },
  metadata: { handling: 'silent', says: 'belongs to what is stored' },
  user: { wish: 'openai.user', handling: 'silent', says: 'not passed on' },
  safety_identifier: { wish: 'openai.safety_identifier', handling: 'silent', says: 'not passed on' },
  prompt_cache_key: {
    wish: 'openai.prompt_cache_key',
    handling: 'honoured',
    says: 'turns with one key prefer one account',
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
} as const satisfies FieldTable;

/** What the messages of a Chat Completions request may hold. Shown in docs/fields.md. */
export const chatParts = {
  'system and developer messages': { handling: 'translated', says: 'become rules of the upstream' },
  'text in messages of every role': { handling: 'honoured', says: 'a string, or a list of text parts' },
  'image_url in user and tool messages': {
    handling: 'honoured',
    says: 'a data URL, or an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `detail` has no effect',
  },
  'file in user and tool messages': {
    handling: 'translated',
    says: '`file_data` of a text file travels as text with its name in front, of an image as an image, and a PDF as a document where the upstream takes those; all else, and `file_id`, cannot be shown',
  },
  'input_audio in user messages': { handling: 'refused', says: 'cannot be shown: send its text' },
  'name in user messages': { handling: 'translated', says: 'put in front of the text' },
  'name in other messages': { handling: 'silent', says: 'no effect' },
  'refusal in assistant messages': {
    handling: 'honoured',
    says: 'where there is no other text; as text to an upstream that knows no refusals',
  },
  'reasoning_content, reasoning, reasoning_details in assistant messages': {
    handling: 'silent',
    says: 'accepted; what the model thought is not sent to it again',
  },
  'annotations in assistant messages': { handling: 'silent', says: 'no effect' },
  'audio in assistant messages': {
    handling: 'translated',
    says: 'a note replaces an answer that has nothing else: send its text as content',
  },
  'tool_calls in assistant messages': {
    handling: 'honoured',
    says: 'functions and custom tools; a call without a result gets one that says so',
  },
  'tool messages': {
    handling: 'honoured',
    says: 'the result of a call; a new one without that call before it is a 400',
  },
  'function_call in assistant messages, function messages': {
    handling: 'translated',
    says: 'read as tool_calls and tool messages',
  },
} as const satisfies FieldTable;
