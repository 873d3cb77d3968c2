import type { DecodedTurn, Inbound } from '../../core/protocol.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';
import { errorAnswers } from '../shared/error-answers.ts';
import { holdsOurSignature } from '../shared/reasoning.ts';
import { unreadChoices, unreadLimit, unreadTurn } from '../shared/request.ts';
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

export const geminiErrors = errorAnswers('gemini', (error) => error.googleStatus, encodeGeminiError);

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

/** Undefined for a request that holds a signature of ours, too: Google would refuse it. */
function readRelayedGemini(
  model: string,
  isStream: boolean,
  body: unknown,
  text: string,
): DecodedTurn<GeminiOptions> | undefined {
  if (!isJsonObject(body) || holdsOurSignature(text)) return undefined;
  const config = configOf(body);
  const choices = unreadChoices(config['candidateCount'] ?? config['candidate_count']);
  const limit = unreadLimit(config['maxOutputTokens'], config['max_output_tokens']);
  const relayed = { body: text, isStream, ...choices, ...limit };
  const options = { includeUsage: true, showsThoughts: true };
  const turn = unreadTurn({ model }, { dialect: 'gemini', ...relayed }, options);
  return turn && { ...turn, choicesParam };
}

function configOf(body: JsonObject): JsonObject {
  const config = body['generationConfig'] ?? body['generation_config'];
  return isJsonObject(config) ? config : {};
}
