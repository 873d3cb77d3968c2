import type { ServerResponse } from 'node:http';
import { AppError } from '../core/errors.ts';
import { serverSentEvent } from '../protocols/openai-responses/stream-encoder.ts';
import type { EventLog } from './event-log.ts';
import { keepAliveEveryMs, streamHeaders } from './turn-output.ts';

/**
 * Writes the events from `from` on as they come, as fast as the client reads. `tick` keeps the stream alive. Resolves
 * when the last one is written or the client has gone.
 */
export function followEvents(
  response: ServerResponse,
  log: EventLog,
  from: number,
  headers: Readonly<Record<string, string>>,
  now: () => number,
): { readonly ended: Promise<void>; tick(time: number): void } {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  let next = from;
  let isWaiting = false;
  let lastWriteAt = now();

  function pump(): void {
    if (isWaiting || response.writableEnded || response.destroyed) return;
    if (next < log.first) {
      const error = new AppError(
        'invalid_request',
        'This client reads too slowly to follow the response: retrieve it.',
      );
      const told = { code: 'events_lost', message: error.message, param: null };
      const whole = {
        ...told,
        type: 'error',
        sequence_number: next,
        error: { type: error.openaiType, ...told },
      };
      const json = JSON.stringify(whole);
      response.end(serverSentEvent('error', json));
      return;
    }
    let text = '';
    while (next < log.next && text.length < 64 * 1024) {
      text += log.at(next);
      next += 1;
    }
    if (log.isClosed && next >= log.next) {
      response.end(text + log.rest);
      return;
    }
    if (text === '') return;
    lastWriteAt = now();
    if (!response.write(text)) isWaiting = true;
    else if (next < log.next) setImmediate(pump);
  }

  response.writeHead(200, {
    ...headers,
    ...streamHeaders,
  });
  response.on('drain', () => {
    isWaiting = false;
    pump();
  });
  const unwatch = log.watch(pump, () => next);
  const finish = (): void => {
    unwatch();
    resolve();
  };
  response.on('finish', finish);
  response.on('close', finish);
  pump();

  return {
    ended,
    tick(time) {
      if (isWaiting || response.writableEnded || response.destroyed) return;
      if (time - lastWriteAt < keepAliveEveryMs) return;
      lastWriteAt = time;
      response.write(': keep-alive\n\n');
    },
  };
}
