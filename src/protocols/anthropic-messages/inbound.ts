import type { DecodedTurn, Inbound, UpstreamHeaders } from '../../core/protocol.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { holdsOurSignature } from '../shared/carried-reasoning.ts';
import { affinityKey, unreadLimit, unreadRequest } from '../shared/request.ts';
import { vendorAnswerIn } from '../shared/vendor-answer.ts';
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
  errorStatus: (error) => vendorAnswerIn(error, 'messages')?.status ?? error.anthropicStatus,
  encodeError: (error, requestId) =>
    vendorAnswerIn(error, 'messages')?.body ?? encodeMessagesError(error, requestId),
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

/**
 * A request for an upstream of this dialect: it judges the rest. Undefined for one that names no model, or holds thinking of an upstream
 * of another dialect.
 */
function readRelayedMessages(
  body: unknown,
  text: string,
  headers: UpstreamHeaders,
): DecodedTurn<MessagesOptions> | undefined {
  if (!isJsonObject(body) || holdsOurSignature(text)) return undefined;
  const request = unreadRequest(body);
  if (!request) return undefined;
  const { stream, metadata, thinking } = body;
  const isStream = stream === true;
  const { type, display } = isJsonObject(thinking) ? thinking : {};
  const { user_id: session } = isJsonObject(metadata) ? metadata : {};
  return {
    request,
    isStream,
    options: {
      includeUsage: true,
      ...shownThinking(type, display),
      estimatedInputTokens: isStream ? Math.ceil(text.length / 4) : 0,
    },
    ignored: [],
    relayed: {
      dialect: 'messages',
      body: text,
      ...unreadLimit(body['max_tokens']),
      headers: messagesHeaders(headers),
      isStream,
      includeUsage: true,
      choices: 1,
    },
    ...affinityKey(session),
  };
}
