import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { NetworkDispatchOptions } from '../exchange.ts';

/** What a handler heard of one request. */
export interface Sent {
  readonly controller: () => Dispatcher.DispatchController | undefined;
  readonly starts: () => number;
  readonly status: () => number | undefined;
  readonly headers: () => IncomingHttpHeaders | undefined;
  readonly body: () => string;
  /** Ends of the exchange: one, if all is well. */
  readonly ends: () => number;
  /** The error that ended it, undefined for a good end. */
  readonly ended: Promise<Error | undefined>;
}

export function send(
  dispatcher: Dispatcher,
  url: string,
  options: Partial<NetworkDispatchOptions> = {},
  onData?: (chunk: Buffer) => void,
): Sent {
  const { origin, pathname, search } = new URL(url);
  const chunks: Buffer[] = [];
  const ended = Promise.withResolvers<Error | undefined>();
  let controller: Dispatcher.DispatchController | undefined;
  let starts = 0;
  let ends = 0;
  let status: number | undefined;
  let headers: IncomingHttpHeaders | undefined;
  const sent: NetworkDispatchOptions = { origin, path: `${pathname}${search}`, method: 'GET', ...options };
  dispatcher.dispatch(sent, {
    onRequestStart(given) {
      starts += 1;
      controller = given;
    },
    onResponseStart(_controller, code, given) {
      status = code;
      headers = given;
    },
    onResponseData(_controller, chunk) {
      chunks.push(chunk);
      onData?.(chunk);
    },
    onResponseEnd() {
      ends += 1;
      ended.resolve(undefined);
    },
    onResponseError(_controller, error) {
      ends += 1;
      ended.resolve(error);
    },
  });
  return {
    controller: () => controller,
    starts: () => starts,
    status: () => status,
    headers: () => headers,
    body: () => Buffer.concat(chunks).toString(),
    ends: () => ends,
    ended: ended.promise,
  };
}
