import type { ImageLimits, Outbound } from '../../core/protocol.ts';
import { jsonBytes } from '../../lib/parse-json.ts';
import { relayedAnswer } from '../shared/relay.ts';
import { classifyFailure } from './classify-failure.ts';
import { GeminiDecoder } from './decode-stream.ts';
import { encodeRequest, outputTokensOf } from './encode-request.ts';
import { geminiCapabilities } from './gemini-models.ts';
import { GeminiTap, readAnswer, withoutSignatures } from './relay.ts';

/** As Gemini 3 has it; the server judges the size of the request. */
const imageLimits: ImageLimits = { maxCount: 900 };
const streamCall = 'streamGenerateContent?alt=sse';
const streamed = { 'content-type': 'application/json', accept: 'text/event-stream' };

/** Speaks Google's Generative Language API, v1beta. A client of the same dialect is relayed, any other translated. */
export function createGeminiOutbound(now: () => number): Outbound {
  return {
    contentType: 'text/event-stream',
    capabilities: geminiCapabilities('gemini-flash-latest'),
    images: imageLimits,
    outputTokensOf,
    open({ request, mostOutputTokens }) {
      const native = geminiCapabilities(request.model);
      const { body, toolNames } = encodeRequest(request, native, mostOutputTokens);
      const path = pathOf(request.model, streamCall);
      return {
        request: { method: 'POST', path, headers: streamed, body: jsonBytes(body) },
        decoder: new GeminiDecoder(request.model, toolNames),
      };
    },
    relay: {
      dialect: 'gemini',
      open({ body: given, isStream, choices, leavesProofsOut }, model) {
        const body = leavesProofsOut ? withoutSignatures(given) : given;
        const path = pathOf(model, isStream ? streamCall : 'generateContent');
        return relayedAnswer({ path, body }, isStream, new GeminiTap(choices), readAnswer);
      },
    },
    wantsProofs: true,
    classifyFailure: (response) => classifyFailure(response, now()),
  };
}

export function pathOf(model: string, call: string): string {
  return `/v1beta/${resourceOf(model).split('/').map(encodeURIComponent).join('/')}:${call}`;
}

/** Names of tuned models have a collection in front: `tunedModels/mine`. */
export function resourceOf(model: string): string {
  return model.includes('/') ? model : `models/${model}`;
}
