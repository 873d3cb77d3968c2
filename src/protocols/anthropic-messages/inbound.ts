import type { DecodedTurn, Inbound, UpstreamHeaders } from '../../core/protocol.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { errorAnswers } from '../shared/error-answers.ts';
import { holdsOurSignature } from '../shared/reasoning.ts';
import { affinityKey, unreadLimit, unreadTurn } from '../shared/request.ts';
import { decodeMessagesRequest, type MessagesOptions, shownThinking } from './decode-request.ts';
import { createMessagesStreamEncoder, encodeMessagesAnswer, encodeMessagesError } from './encode-answer.ts';

/** Anthropic Messages, as clients speak it to us. */
export const anthropicMessagesInbound: Inbound<MessagesOptions> = {
  name: 'messages',
  idPrefix: 'msg_',
  requestIdHeader: 'request-id',
  parameterNames: { reasoningEffort: 'output_config.effort' },
  decode: decodeMessagesRequest,
  readRelayed: readRelayedMessages,
  streamEncoder: createMessagesStreamEncoder,
  encodeAnswer: encodeMessagesAnswer,
  ...errorAnswers('messages', (error) => error.anthropicStatus, encodeMessagesError),
};

const ownHeaders = ['anthropic-beta', 'anthropic-version'] as const;

/** What of a request the dialect has in headers. */
export function messagesHeaders(headers: UpstreamHeaders): Record<string, string> {
  const own: Record<string, string> = {};
  for (const name of ownHeaders) {
    const value = headers[name];
    if (typeof value === 'string') own[name] = value;
  }
  return own;
}

/** Undefined for a request that holds thinking of an upstream of another dialect, too. */
function readRelayedMessages(
  body: unknown,
  text: string,
  headers: UpstreamHeaders,
): DecodedTurn<MessagesOptions> | undefined {
  if (!isJsonObject(body) || holdsOurSignature(text)) return undefined;
  const { stream, metadata, thinking } = body;
  const isStream = stream === true;
  const { type, display } = isJsonObject(thinking) ? thinking : {};
  const { user_id: session } = isJsonObject(metadata) ? metadata : {};
  const own = { headers: messagesHeaders(headers), isStream, ...unreadLimit(body['max_tokens']) };
  const turn = unreadTurn(
    body,
    { dialect: 'messages', body: text, ...own },
    {
      includeUsage: true,
      ...shownThinking(type, display),
      estimatedInputTokens: isStream ? Math.ceil(text.length / 4) : 0,
    },
  );
  return turn && { ...turn, ...affinityKey(session) };
}
