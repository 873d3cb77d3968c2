import type { ServerResponse } from 'node:http';
import type { DecodedTurn, Inbound } from '../core/protocol.ts';
import type { HeadFor } from './answer-head.ts';
import type { TurnOutput } from './attempt.ts';
import { type ChoicesOutput, createChoicesStream, createWholeChoices } from './choices-output.ts';
import { createStreamOutput, createWholeOutput, type StreamOutput } from './turn-output.ts';

/** Where the answer to an HTTP request goes: whole or as a stream, one or several. */
export function outputOf<Options>(
  response: ServerResponse,
  inbound: Inbound<Options>,
  { isStream, choices: count = 1, options }: DecodedTurn<Options>,
  headFor: HeadFor,
  now: () => number,
): (TurnOutput & { readonly tick?: StreamOutput['tick'] }) | ChoicesOutput {
  const { choices: encoders } = inbound;
  if (count > 1 && encoders) {
    const create = isStream ? createChoicesStream : createWholeChoices;
    return create({ response, inbound, encoders, options, count, headFor, now });
  }
  return isStream
    ? createStreamOutput(response, inbound, options, headFor, now)
    : createWholeOutput(response, inbound, options, headFor);
}
