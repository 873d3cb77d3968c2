import type { Inbound } from '../../core/protocol.ts';
import { decodeMessagesRequest, type MessagesOptions } from './decode-request.ts';
import { encodeMessagesAnswer, encodeMessagesError } from './encode-answer.ts';
import { createMessagesStreamEncoder } from './stream-encoder.ts';

/** Anthropic Messages, as clients speak it to us. */
export const anthropicMessagesInbound: Inbound<MessagesOptions> = {
  name: 'messages',
  idPrefix: 'msg_',
  requestIdHeader: 'request-id',
  parameterNames: { reasoningEffort: 'output_config.effort' },
  decode: decodeMessagesRequest,
  streamEncoder: createMessagesStreamEncoder,
  encodeAnswer: encodeMessagesAnswer,
  errorStatus: (error) => error.anthropicStatus,
  encodeError: encodeMessagesError,
};
