import type { ServerResponse } from 'node:http';
import type { Clock } from '../lib/clock.ts';
import type { EventHub, NumberedEvent } from './events.ts';

const pingEveryMs = 15_000;
/** A reader this far behind is cut off; it comes back with its last id. */
const mostUnreadBytes = 1024 * 1024;

/** Streams events as server-sent events until the reader leaves. The answer ends the stream. */
export function streamEvents(options: {
  readonly hub: Pick<EventHub, 'listen' | 'lastId' | 'since'>;
  readonly clock: Clock;
  readonly response: ServerResponse;
  readonly lastEventId: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}): () => void {
  const { hub, clock, response, lastEventId } = options;
  response.writeHead(200, {
    ...options.headers,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  const write = (text: string): void => {
    if (response.writableLength > mostUnreadBytes) response.destroy();
    else response.write(text);
  };
  const send = ({ id, event }: NumberedEvent): void => write(`id: ${id}\ndata: ${JSON.stringify(event)}\n\n`);

  const missed = lastEventId === undefined ? [] : hub.since(lastEventId);
  // An id alone tells a reader nothing, but it resumes from there.
  if (missed === undefined) write(`event: reset\nid: ${hub.lastId()}\ndata: {}\n\n`);
  else if (missed.length === 0) write(`: connected\nid: ${hub.lastId()}\n\n`);
  else missed.forEach(send);

  const stopListening = hub.listen(send);
  let stopPing = (): void => {};
  const ping = (): void => {
    stopPing = clock.after(pingEveryMs, () => {
      write(': ping\n\n');
      ping();
    });
  };
  ping();
  const stop = (): void => {
    stopListening();
    stopPing();
  };
  response.once('close', stop);
  return () => {
    stop();
    response.end();
  };
}
