import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../clock.ts';
import { HttpFault } from '../http/http-fault.ts';

export interface NumberedEvent<Event> {
  /** Undefined for one that is of no use later. */
  readonly id: string | undefined;
  readonly event: Event;
}

const kept = 1000;

/** Hands events to all that listen and keeps the last 1,000 for readers that reconnect. */
export class EventFeed<Event> {
  /** Ids of another run of the service must not look like ours. */
  readonly #run = randomUUID().slice(0, 8);
  readonly #ring: NumberedEvent<Event>[] = [];
  readonly #listeners = new Set<(event: NumberedEvent<Event>) => void>();
  #count = 0;

  publish(event: Event): void {
    this.#count += 1;
    const numbered = { id: this.lastId(), event };
    this.#ring.push(numbered);
    if (this.#ring.length > kept) this.#ring.shift();
    for (const listener of this.#listeners) listener(numbered);
  }

  /** To those that listen now; it is not kept. */
  publishBriefly(event: Event): void {
    for (const listener of this.#listeners) listener({ id: undefined, event });
  }

  /** Forgets what was kept: readers that reconnect hear that they missed something. */
  reset(): void {
    this.#ring.length = 0;
    this.#count += 1;
  }

  /** The answer ends the subscription. */
  listen(listener: (event: NumberedEvent<Event>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get readers(): number {
    return this.#listeners.size;
  }

  /** The id of the last event; a reader that has seen nothing resumes from here. */
  lastId(): string {
    return `${this.#run}-${this.#count}`;
  }

  /** What came after an id, or undefined when that is no longer known. */
  since(id: string): readonly NumberedEvent<Event>[] | undefined {
    if (id === this.lastId()) return [];
    const at = this.#ring.findIndex((numbered) => numbered.id === id);
    if (at >= 0) return this.#ring.slice(at + 1);
    const isJustBefore =
      this.#ring[0] !== undefined && id === `${this.#run}-${this.#count - this.#ring.length}`;
    return isJustBefore ? [...this.#ring] : undefined;
  }
}

const pingEveryMs = 15_000;
const checkEveryMs = 1_000;
/** A reader this far behind is cut off; it reconnects with its last id. */
const mostUnreadBytes = 1024 * 1024;

/** Streams of events for each key: a gateway or program needs one. */
const mostOfKey = 500;

type Feed = Pick<EventFeed<unknown>, 'listen' | 'lastId' | 'since'>;

/** The streams of events that are open, so that they can be counted and ended. */
export class EventStreams {
  readonly #feed: Feed;
  readonly #clock: Clock;
  readonly #check: (request: FastifyRequest) => unknown;
  readonly #mostOfKey: number;
  /** By the function that ends each. */
  readonly #open = new Map<() => void, { readonly request: FastifyRequest; readonly keyId: string }>();
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
    if (ofKey >= this.#mostOfKey) {
      throw new HttpFault(
        'overloaded',
        'Too many programs with this key follow the events: open one stream for each program.',
        { retryAfterMs: 10_000 },
      );
    }
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
