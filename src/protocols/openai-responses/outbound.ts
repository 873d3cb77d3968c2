import type { Capabilities } from '../../core/capabilities.ts';
import type { ImageLimits, Outbound } from '../../core/protocol.ts';
import { jsonBytes } from '../../lib/parse-json.ts';
import { classifyFailure } from '../shared/openai-failure.ts';
import { readOpenaiLimits } from '../shared/openai-limits.ts';
import { relayedAnswer } from '../shared/relay.ts';
import { withOpenaiNames } from '../shared/tools.ts';
import { ResponsesDecoder } from './decode-stream.ts';
import { encodeRequest, leastOutputTokens } from './encode-request.ts';
import { ResponsesTap, readAnswer, relayRequest } from './relay.ts';

/** What a server of the Responses API does natively. It has no stop sequences and no seed. */
export const responsesCapabilities: Capabilities = new Set([
  'maxTokens',
  'jsonObject',
  'jsonSchema',
  'toolChoice',
  'parallelToolCalls',
  'temperature',
  'topP',
  'reasoningEffort',
  'documents',
  'refusals',
  'cacheBreakpoints',
  'strictTools',
  'openai.verbosity',
  'openai.service_tier',
  'openai.user',
  'openai.safety_identifier',
  'openai.prompt_cache_key',
  'openai.prompt_cache_options',
  'openai.prompt_cache_retention',
]);

/** The server's own limit is not known; it refuses what is too much. */
const imageLimits: ImageLimits = { maxCount: 500 };

const path = '/responses';
const headers = { 'content-type': 'application/json', accept: 'text/event-stream' };

/** Speaks OpenAI's Responses to an upstream. A client of the same dialect is relayed, any other translated. */
export function createResponsesOutbound(
  capabilities: Capabilities,
  capabilitiesOf: (model: string) => Capabilities,
  now: () => number,
): Outbound {
  return {
    contentType: 'text/event-stream',
    capabilities,
    images: imageLimits,
    leastOutputTokens,
    open(turn) {
      const { request, toolNames } = withOpenaiNames(turn.request);
      const body = jsonBytes(encodeRequest({ ...turn, request }, capabilitiesOf(request.model)));
      const decoder = new ResponsesDecoder(request.model, toolNames);
      return { request: { method: 'POST', path, headers, body }, decoder };
    },
    relay: {
      dialect: 'responses',
      open({ body, isStream, leavesProofsOut = false }, model) {
        const sent = relayRequest(body, model, leavesProofsOut);
        return relayedAnswer({ path, body: sent }, isStream, new ResponsesTap(), readAnswer);
      },
    },
    wantsProofs: true,
    readLimits: readOpenaiLimits,
    classifyFailure: (response) => classifyFailure(response, now(), 'responses'),
  };
}
