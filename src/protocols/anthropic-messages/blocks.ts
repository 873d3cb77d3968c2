import type { FieldTable } from '../field-table.ts';

/** What the messages of a Messages request may hold. Shown in docs/fields.md. */
export const messagesBlocks = {
  text: { fate: 'honoured', says: 'everywhere; citations in it have no effect' },
  image: {
    fate: 'honoured',
    says: 'as base64, or as an address where the operator lets the gateway fetch images; PNG, JPEG, GIF or WebP by its first bytes; `file` cannot be shown',
  },
  'document with source text or content': {
    fate: 'translated',
    says: 'travels as text, with its title and context in front, and with its images',
  },
  'document with source base64, url or file': {
    fate: 'refused',
    says: 'only plain text and images can be shown: take the text out of this one first',
  },
  search_result: { fate: 'translated', says: 'travels as text, with title and source in front' },
  tool_use: { fate: 'honoured', says: 'the model is told of a call whose result never comes' },
  tool_result: {
    fate: 'honoured',
    says: 'of text, images, documents and search results; a new one without its call before it is a 400',
  },
  tool_reference: {
    fate: 'translated',
    says: 'in the result of a tool: tells the model that it may use the tool',
  },
  'thinking, redacted_thinking': {
    fate: 'silent',
    says: 'accepted with any signature; what the model thought is told again only to an upstream that signed it (`reasoning_details` of a compatible vendor), whose proof travels in our signature',
  },
  compaction: {
    fate: 'translated',
    says: 'its summary travels as text; one that is encrypted only cannot be shown',
  },
  'server_tool_use, mcp_tool_use and their results': {
    fate: 'ignored',
    says: 'what a provider’s own tools left in an answer; the text around it stays',
  },
  'mcp_tool_listing, fallback': { fate: 'ignored', says: 'what a provider left in an answer' },
  container_upload: {
    fate: 'refused',
    says: 'cannot be shown, as there are no containers here: send the text of the file',
  },
  'system messages': {
    fate: 'honoured',
    says: 'become rules for the whole conversation, wherever they stand; with `clear_at: "next_user_message"` only until then',
  },
  'tool_addition, tool_removal in system messages': {
    fate: 'honoured',
    says: 'the last one of a tool decides whether it is offered; a tool may be defined there; those of servers are ignored',
  },
} as const satisfies FieldTable;
