import type { Inbound } from '../../core/protocol.ts';
import { encodeOpenaiError } from '../openai-error.ts';
import { type ChatOptions, decodeChatRequest } from './decode-request.ts';
import {
  createChatStreamEncoder,
  encodeChatAnswer,
  encodeChatChoices,
  encodeChatEnd,
} from './encode-answer.ts';

/** OpenAI Chat Completions, as clients speak it to us. */
export const openaiChatInbound: Inbound<ChatOptions> = {
  name: 'chat',
  idPrefix: 'chatcmpl-',
  decode: decodeChatRequest,
  streamEncoder: (identity, options) => createChatStreamEncoder(identity, options),
  encodeAnswer: encodeChatAnswer,
  choices: {
    streamEncoder: createChatStreamEncoder,
    encodeEnd: encodeChatEnd,
    encodeAnswers: encodeChatChoices,
  },
  errorStatus: (error) => error.status,
  encodeError: encodeOpenaiError,
};
