import { readChatStream } from './chat-grammar.ts';
import { readGeminiStream } from './gemini-grammar.ts';
import { readMessagesStream } from './messages-grammar.ts';
import { readResponsesStream } from './responses-grammar.ts';

/** What a client understood of one answer, in words that all dialects share. */
export interface ReadAnswer {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly ReadCall[];
  readonly end: 'stop' | 'length' | 'tool-calls' | 'content-filter' | 'error';
  readonly stopSequence?: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly usage?: ReadUsage;
  /** Addresses of what the text cites. */
  readonly sources?: readonly string[];
}

export interface ReadCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** Cached tokens counted in, as two of the dialects do. */
export interface ReadUsage {
  readonly input: number;
  readonly output: number;
  readonly cached: number;
}

export type Dialect = 'chat' | 'responses' | 'messages' | 'gemini';

const readers: Record<Dialect, (body: string) => ReadAnswer> = {
  chat: readChatStream,
  responses: readResponsesStream,
  messages: readMessagesStream,
  gemini: readGeminiStream,
};

/**
 * Reads a whole streamed answer and holds it to the grammar of its dialect, as the strictest of the known clients would:
 * order, indexes, ids, whole JSON, one terminal event and nothing after it. Written from what clients insist on, without
 * the encoders at hand. Throws what is wrong, and where.
 */
export function readStream(dialect: Dialect, body: string): ReadAnswer {
  return readers[dialect](body);
}
