import { z } from 'zod';
import { AppError } from '../core/errors.ts';

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
  let message: unknown;
  try {
    message = JSON.parse(data.toString('utf8'));
  } catch {
    throw new AppError('invalid_request', 'The message is not valid JSON.');
  }
  const parsed = createMessage.safeParse(message);
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
