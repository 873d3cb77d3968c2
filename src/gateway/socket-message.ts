import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { HttpFault } from '../lib/http-fault.ts';
import { readJson } from '../lib/json-body.ts';

const createMessage = z.looseObject({
  type: z.literal('response.create'),
  stream_id: z.string().max(256).nullish(),
  generate: z.boolean().nullish(),
  background: z.boolean().nullish(),
});
/** A request as it comes over a WebSocket. */
export type SocketMessage = z.infer<typeof createMessage>;

/** Throws AppError naming what is wrong with a message. */
export function readMessage(data: Buffer, isBinary: boolean): SocketMessage {
  if (isBinary) throw new AppError('invalid_request', 'Messages are text frames that hold JSON.');
  const parsed = createMessage.safeParse(jsonOf(data));
  if (parsed.success) return parsed.data;
  const param = parsed.error.issues[0]?.path.join('.') || 'type';
  throw new AppError(
    'invalid_request',
    param === 'type'
      ? 'type: must be "response.create", with the fields of POST /v1/responses beside it.'
      : `${param}: ${parsed.error.issues[0]?.message}`,
    { param },
  );
}

function jsonOf(data: Buffer): unknown {
  try {
    return readJson(data, 'The message');
  } catch (error) {
    throw error instanceof HttpFault ? new AppError('invalid_request', error.message) : error;
  }
}
