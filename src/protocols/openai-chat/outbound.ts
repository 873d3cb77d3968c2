import type { Capabilities } from '../../core/capabilities.ts';
import type { ImageLimits, Outbound, RelayedRequest } from '../../core/protocol.ts';
import { type JsonObject, jsonBytes } from '../../lib/parse-json.ts';
import { classifyFailure } from '../shared/openai-failure.ts';
import { readOpenaiLimits } from '../shared/openai-limits.ts';
import { relayedAnswer } from '../shared/relay.ts';
import { withOpenaiNames } from '../shared/tools.ts';
import { ChatDecoder } from './decode-stream.ts';
import { encodeRequest } from './encode-request.ts';
import { ChatTap, readAnswer, relayRequest } from './relay.ts';

/** How servers that speak Chat Completions differ. */
export interface ChatVariant {
  readonly maxTokensField: 'max_tokens' | 'max_completion_tokens';
  /** Usage comes unasked, and the field that asks for it is refused. */
  readonly lacksStreamOptions?: boolean;
  /** Where a part says that the request may be cached up to its end. */
  readonly cacheMarkField?: 'cache_control' | 'prompt_cache_breakpoint';
  /** What ids of calls have to be. Any of nine letters and digits is. */
  readonly callIds?: RegExp;
  /** Messages of the system may stand anywhere. The templates of many models refuse a request with one that is not the first. */
  readonly takesLateRules?: boolean;
  /** It refuses answers of the history without `reasoning_content`, of whichever model they are. */
  readonly wantsReasoning?: boolean;
  /** What it refuses of this model's requests, and takes in its other protocol. */
  readonly refuses?: (request: RelayedRequest, model: string) => boolean;
  /** The fields that ask a model for an effort; undefined: as OpenAI's models are asked. */
  readonly encodeEffort?: (model: string, effort: string) => JsonObject | undefined;
}

/** The server's own limit is not known; it refuses what is too much. */
const imageLimits: ImageLimits = { maxCount: 500 };

const path = '/chat/completions';
const headers = { 'content-type': 'application/json', accept: 'text/event-stream' };

/** Speaks OpenAI's Chat Completions to an upstream. A client of the same dialect is relayed, any other translated. */
export function createChatOutbound(
  variant: ChatVariant,
  capabilities: Capabilities,
  capabilitiesOf: (model: string) => Capabilities,
  now: () => number,
): Outbound {
  return {
    contentType: 'text/event-stream',
    capabilities,
    images: imageLimits,
    wantsProofs: true,
    open(turn) {
      const { request, toolNames } = withOpenaiNames(turn.request);
      const native = capabilitiesOf(request.model);
      const body = jsonBytes(encodeRequest({ ...turn, request }, variant, native));
      return {
        request: { method: 'POST', path, headers, body },
        decoder: new ChatDecoder(request.model, toolNames),
      };
    },
    relay: {
      dialect: 'chat',
      carries: (request, model) => variant.refuses?.(request, model) !== true,
      open({ body, isStream, includeUsage, choices, ...how }, model) {
        const asksForUsage = isStream && !includeUsage && variant.lacksStreamOptions !== true;
        const sent = relayRequest(body, model, asksForUsage, how);
        const tap = new ChatTap(choices, asksForUsage);
        return relayedAnswer({ path, body: sent }, isStream, tap, readAnswer);
      },
    },
    readLimits: readOpenaiLimits,
    classifyFailure: (response) => classifyFailure(response, now(), 'chat'),
  };
}
