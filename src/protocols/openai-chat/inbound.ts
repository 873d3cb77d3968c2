import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { errorAnswers } from '../shared/error-answers.ts';
import { affinityKey, unreadChoices, unreadLimit, unreadTurn } from '../shared/request.ts';
import { type ChatOptions, decodeChatRequest, hasFlatTools } from './decode-request.ts';
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
  ...errorAnswers('chat'),
};

function readRelayedChat(body: unknown, text: string): DecodedTurn<ChatOptions> | undefined {
  if (!isJsonObject(body) || hasFlatTools(body)) return undefined;
  const { stream, stream_options: given, n, tools, reasoning_effort: effort } = body;
  const includeUsage = isJsonObject(given) && given['include_usage'] === true;
  const limit = unreadLimit(body['max_completion_tokens'], body['max_tokens']);
  const offered = Array.isArray(tools) && tools.length > 0;
  const relayed = {
    body: text,
    isStream: stream === true,
    includeUsage,
    ...unreadChoices(n),
    ...limit,
    hasOldLimit: typeof body['max_tokens'] === 'number',
    ...(offered && { tools: { effort: typeof effort === 'string' ? effort : undefined } }),
  };
  const turn = unreadTurn(
    body,
    { dialect: 'chat', ...relayed },
    { includeUsage, customTools: new Set<string>() },
  );
  return turn && { ...turn, ...affinityKey(body['prompt_cache_key']) };
}
