import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { holdsOurSignature } from '../shared/carried-reasoning.ts';
import { unreadLimit, unreadRequest } from '../shared/request.ts';
import { vendorAnswerIn } from '../shared/vendor-answer.ts';
import { choicesParam, decodeGeminiRequest, type GeminiOptions } from './decode-request.ts';
import {
  ArrayFrames,
  createGeminiStreamEncoder,
  encodeGeminiAnswer,
  encodeGeminiAnswers,
  encodeGeminiEnd,
  encodeGeminiError,
  eventFrames,
} from './encode-answer.ts';

/** What the path of a request says; its body says the rest. */
export interface GeminiCall {
  readonly model: string;
  /** `array`: a stream as one JSON array, as Google sends it without `alt=sse`. */
  readonly answer: 'whole' | 'events' | 'array';
}

export const geminiErrors = {
  errorStatus: (error) => vendorAnswerIn(error, 'gemini')?.status ?? error.googleStatus,
  encodeError: (error) => vendorAnswerIn(error, 'gemini')?.body ?? encodeGeminiError(error),
} as const satisfies Pick<Inbound<GeminiOptions>, 'errorStatus' | 'encodeError'>;

/** Google's Gemini API, as clients speak it to us; for one request. */
export function createGeminiInbound({ model, answer }: GeminiCall): Inbound<GeminiOptions> {
  const isStream = answer !== 'whole';
  const frames = answer === 'array' ? new ArrayFrames() : eventFrames;
  return {
    name: 'gemini',
    idPrefix: '',
    // Google's SDKs up to 1.30, and gemini-cli with them, take nothing but data.
    hasNoComments: true,
    ...(answer === 'array' && { streamType: 'application/json; charset=utf-8' }),
    parameterNames: {
      temperature: 'generationConfig.temperature',
      topP: 'generationConfig.topP',
      seed: 'generationConfig.seed',
      presencePenalty: 'generationConfig.presencePenalty',
      frequencyPenalty: 'generationConfig.frequencyPenalty',
      reasoningEffort: 'generationConfig.thinkingConfig',
    },
    decode: (body) => decodeGeminiRequest(model, isStream, body),
    readRelayed: (body, text) => readRelayedGemini(model, isStream, body, text),
    streamEncoder: (identity, options) => createGeminiStreamEncoder(identity, options, frames),
    encodeAnswer: encodeGeminiAnswer,
    choices: {
      streamEncoder: (identity, options, choice) =>
        createGeminiStreamEncoder(identity, options, frames, choice),
      encodeEnd: (identity, _options, usage) => encodeGeminiEnd(identity, usage, frames),
      encodeAnswers: encodeGeminiAnswers,
    },
    ...geminiErrors,
  };
}

/**
 * A request for an upstream that speaks this dialect too: nothing is read of it but what comes back. Undefined for one that holds a
 * signature of ours, which Google would refuse.
 */
function readRelayedGemini(
  model: string,
  isStream: boolean,
  body: unknown,
  text: string,
): DecodedTurn<GeminiOptions> | undefined {
  const request = unreadRequest({ model });
  if (!request || !isJsonObject(body) || holdsOurSignature(text)) return undefined;
  const config = configOf(body);
  const count = config['candidateCount'] ?? config['candidate_count'];
  const choices = typeof count === 'number' && count > 1 ? count : 1;
  return {
    request,
    isStream,
    choicesParam,
    options: { includeUsage: true, showsThoughts: true },
    ignored: [],
    relayed: {
      dialect: 'gemini',
      body: text,
      isStream,
      includeUsage: true,
      choices,
      ...unreadLimit(config['maxOutputTokens'], config['max_output_tokens']),
    },
  };
}

function configOf(body: JsonObject): JsonObject {
  const config = body['generationConfig'] ?? body['generation_config'];
  return isJsonObject(config) ? config : {};
}
