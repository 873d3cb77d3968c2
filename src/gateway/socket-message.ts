import { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { HttpFault } from '../lib/http/http-fault.ts';
import { readJson, readSmallJson } from '../lib/http/json-body.ts';
import { largeBytes } from '../lib/process/own-turn.ts';

const createMessage = z.looseObject({
  type: z.literal('response.create'),
  stream_id: z.string().max(256).nullish(),
  generate: z.boolean().nullish(),
  background: z.boolean().nullish(),
});
/** A request as it comes over a WebSocket. */
export type SocketMessage = z.infer<typeof createMessage>;

const what = 'The message';

/** The message at once, or a promise of a large one. Throws AppError naming what is wrong with it, as the promise does. */
export function readMessage(data: Buffer, isBinary: boolean): SocketMessage | Promise<SocketMessage> {
  if (isBinary) throw new AppError('invalid_request', 'Messages are text frames that hold JSON.');
  if (data.length >= largeBytes) return readJson(data, what).then(messageOf, refuse);
  try {
    return messageOf(readSmallJson(data, what));
  } catch (error) {
    return refuse(error);
  }
}

function messageOf(value: unknown): SocketMessage {
  const parsed = createMessage.safeParse(value);
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

function refuse(error: unknown): never {
  throw error instanceof HttpFault ? new AppError('invalid_request', error.message) : error;
}
