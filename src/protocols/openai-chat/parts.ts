import type { FieldTable } from '../field-table.ts';

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
