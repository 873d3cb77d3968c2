import { AppError } from '../../../core/errors.ts';
import type { DecodedTurn, EmbedCall, Inbound } from '../../../core/protocol.ts';
import { isJsonObject } from '../../../lib/parse-json.ts';
import { errorAnswers } from '../../shared/error-answers.ts';
import { unreadTurn } from '../../shared/request.ts';
import { encodeGeminiError } from '../encode-answer.ts';
import { createGeminiInbound } from '../inbound.ts';

/** The calls as paths name them. */
export const embedCalls: Readonly<Record<EmbedCall, string>> = {
  embed_content: 'embedContent',
  batch_embed_contents: 'batchEmbedContents',
};

/** Undefined for a method that is another one. */
export function embedCallOf(method: string): EmbedCall | undefined {
  return (Object.keys(embedCalls) as EmbedCall[]).find((call) => embedCalls[call] === method);
}

interface EmbedOptions {
  readonly includeUsage: boolean;
}

const options: EmbedOptions = { includeUsage: true };

/** Embeddings as clients of Gemini ask for them: requests that are no turns, and are passed on unread. */
export function createEmbedInbound(call: EmbedCall): Inbound<EmbedOptions> {
  const { streamEncoder, encodeAnswer } = createGeminiInbound({ model: '', answer: 'whole' });
  const shown = { includeUsage: true, showsThoughts: false };
  return {
    name: call,
    idPrefix: '',
    passesBytes: true,
    decode() {
      throw new Error(`Nothing of ${call} is decoded.`);
    },
    streamEncoder: (identity) => streamEncoder(identity, shown),
    encodeAnswer: (identity, answer) => encodeAnswer(identity, answer, shown),
    ...errorAnswers(call, (error) => error.googleStatus, encodeGeminiError),
  };
}

/** `servedBy`: providers that take the call, of those with accounts. Throws AppError `invalid_request`. */
export function readEmbedRequest(
  call: EmbedCall,
  model: string,
  { body, text = '' }: { readonly body: unknown; readonly text: string | undefined },
  servedBy: readonly string[],
): DecodedTurn<EmbedOptions> {
  if (!isJsonObject(body)) throw new AppError('invalid_request', 'The body must be a JSON object.');
  const turn = unreadTurn({ model }, { dialect: call, body: text }, options);
  if (!turn) throw new AppError('invalid_request', 'The path must name a model, of at most 256 characters.');
  const translated = () => {
    throw notServed(model, servedBy);
  };
  return { ...turn, translated };
}

function notServed(model: string, servedBy: readonly string[]): AppError {
  const [first] = servedBy;
  const advice =
    first === undefined
      ? 'Add an account of a provider that has them, such as gemini.'
      : `Providers that have them here: ${servedBy.join(', ')}; name the model as "${first}/MODEL".`;
  const message = `The provider that "${model}" leads to has no embeddings. ${advice}`;
  return new AppError('model_not_found', message, { param: 'model' });
}
