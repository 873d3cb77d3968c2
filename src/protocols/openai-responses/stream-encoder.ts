import type { AnswerIdentity, StreamEncoder } from '../../core/protocol.ts';
import type { ResponsesOptions } from './response.ts';
import { ResponseEvents } from './response-events.ts';

/** The events of a response as server-sent ones. `onEnd` gets the response as it ended. */
export function createResponsesStreamEncoder(
  identity: AnswerIdentity,
  options: ResponsesOptions,
  onEnd?: (response: Record<string, unknown>) => void,
): StreamEncoder {
  let text = '';
  const events = new ResponseEvents(identity, options, {
    emit(type, json) {
      text += serverSentEvent(type, json);
    },
    ...(onEnd ? { onEnd } : {}),
  });
  return {
    keepAlive: ': keep-alive\n\n',
    encode(batch) {
      text = '';
      events.push(batch);
      // The open specification ends a stream with this line as Chat Completions does; a broken one goes without.
      return batch[batch.length - 1]?.type === 'finish' ? `${text}${streamEnd}` : text;
    },
  };
}

export const streamEnd = 'data: [DONE]\n\n';

export function serverSentEvent(type: string, json: string): string {
  return `event: ${type}\ndata: ${json}\n\n`;
}
