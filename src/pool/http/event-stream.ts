import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../lib/clock.ts';
import { PoolError } from '../../pool-api/errors.ts';
import type { EventHub, NumberedEvent } from '../base/events.ts';

const pingEveryMs = 15_000;
/** A reader this far behind is cut off; it reconnects with its last id. */
const mostUnreadBytes = 1024 * 1024;

/** Streams of events for each key: a gateway or program needs one. */
const mostOfKey = 500;

type Hub = Pick<EventHub, 'listen' | 'lastId' | 'since'>;

/** The streams of events that are open, so that they can be counted and ended. */
export class EventStreams {
  readonly #hub: Hub;
  readonly #clock: Clock;
  readonly #mostOfKey: number;
  /** By the function that ends a stream, the key it was opened with. */
  readonly #open = new Map<() => void, string>();

  constructor(hub: Hub, clock: Clock, most = mostOfKey) {
    this.#hub = hub;
    this.#clock = clock;
    this.#mostOfKey = most;
  }

  open(request: FastifyRequest, reply: FastifyReply, keyId: string): void {
    const ofKey = [...this.#open.values()].filter((other) => other === keyId).length;
    if (ofKey >= this.#mostOfKey) throw tooManyStreams();
    reply.hijack();
    const last = request.headers['last-event-id'];
    const end = streamEvents({
      hub: this.#hub,
      clock: this.#clock,
      response: reply.raw,
      lastEventId: typeof last === 'string' ? last : undefined,
      requestId: request.id,
    });
    this.#open.set(end, keyId);
    reply.raw.once('close', () => this.#open.delete(end));
  }

  /** Ends all of them. */
  close(): void {
    for (const end of this.#open.keys()) end();
  }
}

function tooManyStreams(): PoolError {
  return new PoolError(
    'overloaded',
    'Too many programs with this key follow the events: open one stream for each program.',
    { retryAfterMs: 10_000 },
  );
}

/** Streams events as server-sent events until the reader leaves. The answer ends the stream. */
function streamEvents(options: {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly response: ServerResponse;
  readonly lastEventId: string | undefined;
  readonly requestId: string;
}): () => void {
  const { hub, clock, response, lastEventId } = options;
  response.writeHead(200, {
    'x-request-id': options.requestId,
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
