import {
  type FieldTable,
  honoured,
  ignored,
  passedOn,
  refused,
  silent,
  translated,
} from '../shared/field-table.ts';
import { openaiFields } from '../shared/openai-fields.ts';

/** Every field of a Chat Completions request and what becomes of it. Read by the decoder and by docs/fields.md. */
export const chatFields = {
  model: honoured('a model or an alias of one; an unknown name is a 404 with near names'),
  messages: honoured('as the parts below tell'),
  stream: honoured('server-sent events'),
  'stream_options.include_usage': honoured('usage in a last chunk of its own'),
  'stream_options.include_obfuscation': silent('chunks are never padded'),
  tools: translated('see the table of tools below'),
  'tools[].function.strict': ignored(
    'Warp and Oz do not promise it; arguments come as the model wrote them',
    {
      neutral: [false],
      wish: 'strictTools',
    },
  ),
  ...openaiFields,
  max_completion_tokens: honoured('kept by counting tokens (o200k_base); the answer ends with `length`'),
  max_tokens: honoured('as `max_completion_tokens`, which wins where both are sent'),
  stop: honoured('the answer is cut before the first of them'),
  response_format: honoured(
    '`json_object` and `json_schema` are asked for in the instructions and checked; an answer that is not as asked is sent back once and is an error the second time, a streamed one is held until it is checked, and one cut by a limit or `stop` is passed on as it is; keywords of a schema that cannot be checked (a `pattern` of another regex dialect, a `format` or a remote `$ref`) are named in `x-warp2api-ignored`',
  ),
  seed: passedOn('Warp and Oz have no such setting'),
  reasoning_effort: passedOn(
    'chooses the model where each effort is a model of its own, as at Warp; `none` shows no reasoning',
  ),
  'reasoning.effort': translated('OpenRouter’s form of `reasoning_effort`, which wins where both are sent'),
  'reasoning.max_tokens': ignored(
    'an upstream that has budgets or efforts takes it; others think as long as they like',
    { wish: 'reasoningEffort' },
  ),
  'reasoning.enabled': translated('`false` turns thinking off where the upstream can'),
  'reasoning.exclude': ignored('reasoning is shown where the model shows it', { neutral: [false] }),
  'thinking.type': translated('`disabled` turns thinking off where the upstream can'),
  'thinking.budget_tokens': ignored('as `reasoning.max_tokens`', { wish: 'reasoningEffort' }),
  verbosity: ignored('Warp and Oz have no such setting', { neutral: ['medium'], wish: 'openai.verbosity' }),
  prediction: ignored('it could only make an answer faster', { wish: 'openai.prediction' }),
  n: honoured(
    'one turn each, side by side, as many as `MAX_CHOICES` allows (1 unless the operator sets it, then more is a 400); usage is the sum',
  ),
  logprobs: refused('no log probabilities are given: leave it out', { neutral: [false] }),
  logit_bias: refused('this upstream takes no token biases: leave it out', {
    neutral: [{}],
    wish: 'openai.logit_bias',
  }),
  modalities: refused('only text can be answered: send ["text"] or leave it out', {
    neutral: [['text'], []],
  }),
  audio: refused('only text can be answered: leave it out'),
  web_search_options: refused('no upstream is asked to search: leave it out, or offer a tool that searches'),
  functions: refused('is deprecated: send tools instead', { neutral: [[]] }),
  function_call: refused('is deprecated: send tool_choice instead', { neutral: ['none', 'auto'] }),
  store: silent('nothing is stored'),
  metadata: silent('belongs to what is stored'),
  user: ignored('Warp and Oz have no such setting', { wish: 'openai.user' }),
  safety_identifier: silent('not passed on', { wish: 'openai.safety_identifier' }),
  prompt_cache_key: honoured('turns with one key prefer one account', { wish: 'openai.prompt_cache_key' }),
} as const satisfies FieldTable;

/** What the messages of a Chat Completions request may hold. Shown in docs/fields.md. */
export const chatParts = {
  'system and developer messages': translated('become rules of the upstream'),
  'text in messages of every role': honoured('a string, or a list of text parts'),
  'image_url in user and tool messages': honoured(
    'a data URL, or an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `detail` has no effect',
  ),
  'file in user and tool messages': translated(
    '`file_data` of a text file travels as text with its name in front, of an image as an image, and a PDF as a document where the upstream takes those; all else, and `file_id`, cannot be shown',
  ),
  'input_audio in user messages': refused('cannot be shown: send its text'),
  'name in user messages': translated('put in front of the text'),
  'name in other messages': silent('no effect'),
  'refusal in assistant messages': honoured(
    'where there is no other text; as text to an upstream that knows no refusals',
  ),
  'reasoning_content, reasoning, reasoning_details in assistant messages': silent(
    'what an upstream signed, or gave as `reasoning_content`, is sent back to it, from `reasoning_details` that the gateway has sent or as it remembers by the calls; all else is accepted and not sent',
  ),
  'annotations in assistant messages': silent('no effect'),
  'audio in assistant messages': translated(
    'a note replaces an answer that has nothing else: send its text as content',
  ),
  'tool_calls in assistant messages': honoured(
    'functions and custom tools; a call without a result gets one that says so',
  ),
  'tool messages': honoured('the result of a call; a new one without that call before it is a 400'),
  'function_call in assistant messages, function messages': translated(
    'read as tool_calls and tool messages',
  ),
} as const satisfies FieldTable;
