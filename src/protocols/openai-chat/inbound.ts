import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { encodeOpenaiError } from '../shared/openai-error.ts';
import { affinityKey, unreadLimit, unreadRequest } from '../shared/request.ts';
import { vendorAnswerIn } from '../shared/vendor-answer.ts';
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
  readRelayed: readRelayedChat,
  streamEncoder: (identity, options) => createChatStreamEncoder(identity, options),
  encodeAnswer: encodeChatAnswer,
  choices: {
    streamEncoder: createChatStreamEncoder,
    encodeEnd: encodeChatEnd,
    encodeAnswers: encodeChatChoices,
  },
  errorStatus: (error) => vendorAnswerIn(error, 'chat')?.status ?? error.status,
  encodeError: (error) => vendorAnswerIn(error, 'chat')?.body ?? encodeOpenaiError(error),
};

/**
 * A request for an upstream that speaks this dialect too: nothing is read of it but where it goes and what comes back, since the
 * upstream judges the rest. Undefined for one that names no model.
 */
function readRelayedChat(body: unknown, text: string): DecodedTurn<ChatOptions> | undefined {
  if (!isJsonObject(body)) return undefined;
  const request = unreadRequest(body);
  if (!request) return undefined;
  const { stream, stream_options: given, n } = body;
  const isStream = stream === true;
  const includeUsage = isJsonObject(given) && given['include_usage'] === true;
  const choices = typeof n === 'number' && n > 1 ? n : 1;
  return {
    request,
    isStream,
    options: { includeUsage, customTools: new Set() },
    ignored: [],
    relayed: {
      dialect: 'chat',
      body: text,
      isStream,
      includeUsage,
      choices,
      ...unreadLimit(body['max_completion_tokens'], body['max_tokens']),
    },
    ...affinityKey(body['prompt_cache_key']),
  };
}
