import type { AnswerIdentity, Inbound } from '../../core/protocol.ts';
import { encodeOpenaiError } from '../openai-error.ts';
import { decodeResponsesRequest, parseResponsesRequest, type ResponsesOptions } from './decode-request.ts';
import { encodeResponsesAnswer } from './encode-answer.ts';
import { createResponsesStreamEncoder } from './stream-encoder.ts';

/** OpenAI Responses, as clients speak it to us. `onEnd` gets the response as it ended, to be stored. */
export function createResponsesInbound(
  onEnd?: (response: Record<string, unknown>, identity: AnswerIdentity) => void,
): Inbound<ResponsesOptions> {
  return {
    name: 'responses',
    idPrefix: 'resp_',
    decode: (body) => decodeResponsesRequest(parseResponsesRequest(body)),
    streamEncoder: (identity, options) =>
      createResponsesStreamEncoder(identity, options, onEnd && ((response) => onEnd(response, identity))),
    encodeAnswer(identity, answer, options) {
      const response = encodeResponsesAnswer(identity, answer, options);
      onEnd?.(response, identity);
      return JSON.stringify(response);
    },
    errorStatus: (error) => error.status,
    encodeError: encodeOpenaiError,
  };
}
