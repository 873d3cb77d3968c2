import type { Inbound } from '../../core/protocol.ts';
import { encodeOpenaiError } from '../openai-error.ts';
import { decodeResponsesRequest, parseResponsesRequest, type ResponsesOptions } from './decode-request.ts';
import { encodeResponsesAnswer } from './encode-answer.ts';
import { createResponsesStreamEncoder } from './stream-encoder.ts';

/** OpenAI Responses, as clients speak it to us. `onDone` gets each finished response, to be stored. */
export function createResponsesInbound(
  onDone?: (response: Record<string, unknown>) => void,
): Inbound<ResponsesOptions> {
  return {
    name: 'openai-responses',
    idPrefix: 'resp_',
    decode: (body) => decodeResponsesRequest(parseResponsesRequest(body)),
    streamEncoder: (identity, options) => createResponsesStreamEncoder(identity, options, onDone),
    encodeAnswer(identity, answer, options) {
      const response = encodeResponsesAnswer(identity, answer, options);
      onDone?.(response);
      return JSON.stringify(response);
    },
    errorStatus: (error) => error.status,
    encodeError: encodeOpenaiError,
  };
}
