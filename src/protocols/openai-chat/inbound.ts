import type { Inbound } from '../../core/protocol.ts';
import { encodeOpenaiError } from '../openai-error.ts';
import { type ChatOptions, decodeChatRequest } from './decode-request.ts';
import { createChatStreamEncoder, encodeChatAnswer } from './encode-answer.ts';

/** OpenAI Chat Completions, as clients speak it to us. */
export const openaiChatInbound: Inbound<ChatOptions> = {
  name: 'openai-chat',
  idPrefix: 'chatcmpl-',
  decode: decodeChatRequest,
  streamEncoder: createChatStreamEncoder,
  encodeAnswer: encodeChatAnswer,
  errorStatus: (error) => error.status,
  encodeError: encodeOpenaiError,
};
