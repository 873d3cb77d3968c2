import { refused } from '../../core/errors.ts';
import type { Inbound } from '../../core/protocol.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import type { ChatOptions } from '../../protocols/openai-chat/decode-request.ts';
import { openaiChatInbound } from '../../protocols/openai-chat/inbound.ts';
import {
  decodeResponsesRequest,
  parseResponsesRequest,
} from '../../protocols/openai-responses/decode-request.ts';

/**
 * Cursor sends the body of a Responses request to `/chat/completions` where its OpenAI base URL is another server's, and expects the answer
 * as Chat Completions.
 */
const responsesInChat: Inbound<ChatOptions> = {
  ...openaiChatInbound,
  readRelayed: () => undefined,
  decode(body) {
    const { stream_options: given, ...asked } = parseResponsesRequest(body);
    for (const name of ['previous_response_id', 'background'] as const) {
      if (asked[name]) throw refused(name, 'has no effect here: send the request to /v1/responses');
    }
    const { options, translated: _none, ...decoded } = decodeResponsesRequest(asked);
    const custom = [...options.tools.forms].flatMap(([name, { kind }]) => (kind === 'custom' ? [name] : []));
    const includeUsage = isJsonObject(given) && given['include_usage'] === true;
    return { ...decoded, options: { includeUsage, customTools: new Set(custom) } };
  },
};

/** How the body of a Chat Completions request is read. */
export function chatInboundFor(body: unknown): Inbound<ChatOptions> {
  const isResponses = isJsonObject(body) && body['input'] !== undefined && body['messages'] === undefined;
  return isResponses ? responsesInChat : openaiChatInbound;
}
