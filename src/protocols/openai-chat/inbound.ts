import type { AppError, VendorAnswer } from '../../core/errors.ts';
import type { Inbound } from '../../core/protocol.ts';
import { encodeOpenaiError } from '../openai-error.ts';
import { type ChatOptions, decodeChatRequest } from './decode-request.ts';
import {
  createChatStreamEncoder,
  encodeChatAnswer,
  encodeChatChoices,
  encodeChatEnd,
} from './encode-answer.ts';
import { readRelayedChat } from './read-relayed.ts';

function answerIn({ vendorAnswer }: AppError): VendorAnswer | undefined {
  return vendorAnswer?.dialect === 'chat' ? vendorAnswer : undefined;
}

/** OpenAI Chat Completions, as clients speak it to us. */
export const openaiChatInbound: Inbound<ChatOptions> = {
  name: 'chat',
  idPrefix: 'chatcmpl-',
  decode: decodeChatRequest,
  readRelayed: readRelayedChat,
  streamEncoder: (identity, options) => createChatStreamEncoder(identity, options),
  encodeAnswer: encodeChatAnswer,
  choices: {
    streamEncoder: createChatStreamEncoder,
    encodeEnd: encodeChatEnd,
    encodeAnswers: encodeChatChoices,
  },
  errorStatus: (error) => answerIn(error)?.status ?? error.status,
  encodeError: (error) => answerIn(error)?.body ?? encodeOpenaiError(error),
};
