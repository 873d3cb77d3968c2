import type { FieldTable } from '../field-table.ts';

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
