import type { Capabilities } from '../../core/capabilities.ts';
import type { ImageLimits, Outbound } from '../../core/protocol.ts';
import { jsonBytes, parseJsonObject } from '../../lib/parse-json.ts';
import { relayedAnswer } from '../shared/relay.ts';
import { classifyFailure } from './classify-failure.ts';
import { factsOf } from './claude-models.ts';
import { hasThread } from './decode-request.ts';
import { MessagesDecoder } from './decode-stream.ts';
import { encodeRequest } from './encode-request.ts';
import { messagesLimitFamily, readMessagesLimits } from './limits.ts';
import { MessagesTap, readAnswer, relayRequest } from './relay.ts';

/** The server's own limits depend on the model; it refuses what is too much. */
const imageLimits: ImageLimits = { maxCount: 600 };

const path = '/v1/messages';
/** The version this was written for: a client of the dialect may name another. */
export const messagesVersion = { 'anthropic-version': '2023-06-01' };
const streamed = { 'content-type': 'application/json', accept: 'text/event-stream', ...messagesVersion };

/**
 * Speaks Anthropic Messages to an upstream. A client of the same dialect is relayed, any other translated. A server other than
 * Anthropic's is taken to keep no threads: one that overlooked the field would get results without their calls.
 */
export function createMessagesOutbound(
  capabilities: Capabilities,
  capabilitiesOf: (model: string) => Capabilities,
  now: () => number,
  keepsThreads = true,
): Outbound {
  return {
    contentType: 'text/event-stream',
    capabilities,
    images: imageLimits,
    outputTokensOf: ({ model, limits }) => limits.maxOutputTokens ?? factsOf(model).maxTokens,
    open({ request, cachesPrompts = false }) {
      const native = capabilitiesOf(request.model);
      const { body, beta, toolNames, leftOut } = encodeRequest(request, native, cachesPrompts);
      return {
        request: {
          method: 'POST',
          path,
          headers: beta === undefined ? streamed : { ...streamed, 'anthropic-beta': beta },
          body: jsonBytes(body),
        },
        decoder: new MessagesDecoder(request.model, toolNames),
        leftOut,
      };
    },
    relay: {
      dialect: 'messages',
      carries: ({ body }) => keepsThreads || !body.includes('"thread"') || !hasThread(parseJsonObject(body)),
      open({ body, headers: given, isStream, leavesProofsOut = false }, model) {
        const sent = relayRequest(body, model, leavesProofsOut);
        const headers = { ...messagesVersion, ...given };
        return relayedAnswer({ path, body: sent, headers }, isStream, new MessagesTap(), readAnswer);
      },
    },
    wantsProofs: true,
    readLimits: readMessagesLimits,
    limitFamily: messagesLimitFamily,
    classifyFailure: (response) => classifyFailure(response, now()),
  };
}
