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

/** Every field of a Responses request and what becomes of it. Read by the decoder and by docs/fields.md. */
export const responsesFields = {
  model: honoured('a model or an alias of one; an unknown name is a 404 with near names'),
  input: honoured(
    'text or items: messages, calls and their outputs (functions, custom tools, shells, patches), reasoning, compactions made here, references to items of stored responses; an output without its call is refused',
  ),
  instructions: honoured('as rules of the upstream, for this request only'),
  previous_response_id: honoured('a stored response of the same client key'),
  store: honoured('unless false the response can be looked up and continued'),
  stream: honoured('server-sent events'),
  'stream_options.include_obfuscation': silent('events are never padded'),
  tools: translated('see the table of tools below; items of the input may add further ones'),
  'tools[].strict': ignored(
    'Warp and Oz do not promise it; arguments come as the model wrote them. OpenAI promises it for schemas of its strict form',
    {
      neutral: [false],
      wish: 'strictTools',
    },
  ),
  ...openaiFields,
  max_output_tokens: honoured('kept by counting tokens (o200k_base); the response ends as `incomplete`'),
  'text.format': honoured(
    'asked for in the instructions and checked; an answer that is not as asked is sent back once and is an error the second time, a streamed one is held until it is checked, and one cut by a limit is passed on as it is',
  ),
  'text.verbosity': ignored('Warp and Oz have no such setting', {
    neutral: ['medium'],
    wish: 'openai.verbosity',
  }),
  'reasoning.effort': passedOn(
    'chooses the model where each effort is a model of its own, as at Warp; `none` shows no reasoning',
  ),
  'reasoning.summary': silent('what the model shows of its reasoning is always answered'),
  'reasoning.generate_summary': silent('the former name of `reasoning.summary`'),
  'reasoning.context': ignored('the upstream decides', { neutral: ['auto'] }),
  'reasoning.mode': ignored('there is one mode', { neutral: ['standard'] }),
  metadata: honoured('repeated in the response; at most 16 pairs, keys of 64 and values of 512 characters'),
  user: ignored('repeated in the response; Warp and Oz have no such setting', { wish: 'openai.user' }),
  safety_identifier: silent('repeated in the response, not passed on', { wish: 'openai.safety_identifier' }),
  prompt_cache_key: honoured('repeated in the response; turns with one key prefer one account', {
    wish: 'openai.prompt_cache_key',
  }),
  client_metadata: silent('not passed on'),
  include: ignored(
    'a response holds what it has without asking, and nothing that only the provider could add',
    { neutral: [[], ['reasoning.encrypted_content']] },
  ),
  truncation: ignored('the upstream decides what of a long history the model sees', {
    neutral: ['disabled'],
  }),
  context_management: ignored('no history is compacted unasked', { neutral: [[]] }),
  max_tool_calls: silent('limits tools that the provider runs, and there are none; repeated in the response'),
  access_programs: ignored('there are none'),
  'image.context_compression': ignored('images are sent as they are', { neutral: ['auto', 'disabled'] }),
  background: honoured(
    'the answer is the response as queued (or its events); it has to be stored, and can be looked up, followed and cancelled',
  ),
  'background_options.completion_window': ignored('it runs at once', { neutral: ['soonest'] }),
  'background_options.continuation_id': silent('only the provider could put related requests in order'),
  conversation: refused('is not kept here: use previous_response_id, or send the history'),
  prompt: refused('stored prompts are not kept here: send the text'),
} as const satisfies FieldTable;

/** What the input of a Responses request may hold. Shown in docs/fields.md. */
export const responsesItems = {
  message: honoured('of every role; system and developer messages become rules of the upstream'),
  'input_text, output_text, refusal': honoured('text'),
  input_image: honoured(
    'in messages of the user and in outputs; a data URL, or an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `file_id` cannot be shown',
  ),
  input_file: translated(
    '`file_data` of a text file travels as text with its name in front, of an image as an image, and a PDF as a document where the upstream takes those; all else cannot be shown',
  ),
  'function_call, custom_tool_call, local_shell_call, shell_call, apply_patch_call, computer_call, tool_search_call':
    honoured('a call without its output gets a note for the model'),
  'the outputs of these calls': honoured('a new one without the call before it is a 400'),
  'additional_tools, tool_search_output': honoured(
    'their tools are offered like those of `tools`, now and in later turns of the conversation; 4,096 in all',
  ),
  reasoning: silent(
    'accepted; what the model thought is sent back only to the upstream that signed it, whose proof travels sealed in `encrypted_content`',
  ),
  'compaction, compaction_summary': translated(
    'made here for the same key: its summary travels as text; any other cannot be shown',
  ),
  item_reference: honoured(
    'an item of a stored response of the same key; a note replaces one that is no longer kept',
  ),
  configuration_update: honoured(
    'its effort and text format hold from there on; the last one wins over the fields of the request',
  ),
  agent_message: translated('a message between agents of Codex, as text of the user'),
  compaction_trigger: honoured(
    'as the last item: the response is one `compaction` item that holds a summary of the conversation',
  ),
  'calls and outputs of tools that a provider runs': ignored(
    'what they left in a history; the text around them stays. A 400 where one is the only new input',
  ),
} as const satisfies FieldTable;
