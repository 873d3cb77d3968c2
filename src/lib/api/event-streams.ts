import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../clock.ts';
import { HttpFault } from '../http/http-fault.ts';
import type { EventFeed, NumberedEvent } from './event-feed.ts';

const pingEveryMs = 15_000;
const checkEveryMs = 1_000;
/** A reader this far behind is cut off; it reconnects with its last id. */
const mostUnreadBytes = 1024 * 1024;

/** Streams of events for each key: a gateway or program needs one. */
const mostOfKey = 500;

type Feed = Pick<EventFeed<unknown>, 'listen' | 'lastId' | 'since'>;

interface OpenStream {
  readonly request: FastifyRequest;
  readonly keyId: string;
}

/** The streams of events that are open, so that they can be counted and ended. */
export class EventStreams {
  readonly #feed: Feed;
  readonly #clock: Clock;
  readonly #check: (request: FastifyRequest) => unknown;
  readonly #mostOfKey: number;
  /** By the function that ends each. */
  readonly #open = new Map<() => void, OpenStream>();
  #stopChecking = () => {};

  /** `check` throws for a request that would not be let in now, such as one whose session has ended: its stream is ended. */
  constructor(feed: Feed, clock: Clock, check: (request: FastifyRequest) => unknown, most = mostOfKey) {
    this.#feed = feed;
    this.#clock = clock;
    this.#check = check;
    this.#mostOfKey = most;
  }

  open(request: FastifyRequest, reply: FastifyReply, keyId: string): void {
    const ofKey = [...this.#open.values()].filter((other) => other.keyId === keyId).length;
    if (ofKey >= this.#mostOfKey) throw tooManyStreams();
    reply.hijack();
    const response = reply.raw;
    // No event would say later that the reader has left.
    if (response.closed) return;
    response.writeHead(200, {
      'x-request-id': request.id,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    const last = request.headers['last-event-id'];
    const stop = this.#stream(response, typeof last === 'string' ? last : undefined);
    const end = (): void => {
      stop();
      response.end();
    };
    if (this.#open.size === 0) this.#checkLater();
    this.#open.set(end, { request, keyId });
    response.once('close', () => {
      stop();
      this.#open.delete(end);
    });
  }

  /** Sends what was missed, and all that happens from now on. The answer stops that. */
  #stream(response: ServerResponse, lastEventId: string | undefined): () => void {
    const write = (text: string): void => {
      if (response.writableLength > mostUnreadBytes) response.destroy();
      else response.write(text);
    };
    const send = ({ id, event }: NumberedEvent<unknown>): void =>
      write(`${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(event)}\n\n`);

    const missed = lastEventId === undefined ? [] : this.#feed.since(lastEventId);
    // An id alone is no event to a reader, but it resumes from there.
    if (missed === undefined) write(`event: reset\nid: ${this.#feed.lastId()}\ndata: {}\n\n`);
    else if (missed.length === 0) write(`: connected\nid: ${this.#feed.lastId()}\n\n`);
    else missed.forEach(send);

    const stopListening = this.#feed.listen(send);
    let stopPing = (): void => {};
    const ping = (): void => {
      stopPing = this.#clock.after(pingEveryMs, () => {
        write(': ping\n\n');
        ping();
      });
    };
    ping();
    return () => {
      stopListening();
      stopPing();
    };
  }

  #checkLater(): void {
    this.#stopChecking();
    this.#stopChecking = this.#clock.after(checkEveryMs, () => {
      for (const [end, { request }] of this.#open) {
        try {
          this.#check(request);
        } catch {
          end();
        }
      }
      if (this.#open.size > 0) this.#checkLater();
    });
  }

  close(): void {
    this.#stopChecking();
    for (const end of this.#open.keys()) end();
  }
}

function tooManyStreams(): HttpFault {
  return new HttpFault(
    'overloaded',
    'Too many programs with this key follow the events: open one stream for each program.',
    { retryAfterMs: 10_000 },
  );
}
