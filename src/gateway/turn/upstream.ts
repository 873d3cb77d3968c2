import type { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib';
import type { Dispatcher } from 'undici';
import { AppError } from '../../core/errors.ts';
import type {
  FailedResponse,
  Outbound,
  TurnDecoder,
  UpstreamAnswer,
  UpstreamHeaders,
} from '../../core/protocol.ts';
import type { CallListener, RunningCall, UpstreamTimeouts } from '../../core/provider.ts';
import type { TurnEvent } from '../../core/turn.ts';
import type { NetworkDispatchOptions } from '../../lib/network/exchange.ts';
import { isSurelyUnsent } from '../../lib/network/transport-errors.ts';
import type { TraceHeaders } from '../../lib/telemetry/trace-headers.ts';
import { networkError } from '../../providers/http.ts';

export interface UpstreamCall {
  readonly dispatcher: Dispatcher;
  /** Scheme, host and an optional path prefix; no trailing slash. */
  readonly baseUrl: string;
  readonly needsHttp2: boolean;
  readonly outbound: Outbound;
  readonly answer: UpstreamAnswer;
  readonly authHeaders: Readonly<Record<string, string>>;
  /** Where the upstream gets the turn's trace. */
  readonly traceHeaders?: TraceHeaders | undefined;
  readonly userAgent: string;
  readonly timeouts: UpstreamTimeouts;
  readonly now: () => number;
  readonly listener: CallListener;
}

const maxFailureBody = 64 * 1024;
/** How long an upstream may keep the connection after its end mark, or be late with it when all else has come. */
const lingerMs = 2_000;

/** Not asked for, but sent by some servers and proxies anyway. */
const decompressors: ReadonlyMap<string, () => Transform> = new Map<string, () => Transform>([
  ['gzip', createGunzip],
  ['x-gzip', createGunzip],
  ['deflate', createInflate],
  ['br', createBrotliDecompress],
  ['zstd', createZstdDecompress],
]);

const places = new Map<string, { readonly origin: string; readonly prefix: string }>();

/** Of a provider's base URL, of which there are as many as providers. */
function placeOf(baseUrl: string) {
  let place = places.get(baseUrl);
  if (!place) {
    const { origin, pathname } = new URL(baseUrl);
    place = { origin, prefix: pathname === '/' ? '' : pathname };
    places.set(baseUrl, place);
  }
  return place;
}

/** Sends one turn upstream and reads its answer: one callback a read, never two terminal events. */
export function callUpstream(options: UpstreamCall): RunningCall {
  const call = new Call(options);
  call.send(options);
  return call;
}

class Call implements RunningCall, Dispatcher.DispatchHandler {
  // Not the request: an answer takes long, and its body may be large.
  readonly #decoder: TurnDecoder;
  readonly #expectedType: string | RegExp;
  readonly #outbound: Outbound;
  readonly #timeouts: UpstreamTimeouts;
  readonly #now: () => number;
  readonly #listener: CallListener;
  #controller: Dispatcher.DispatchController | undefined;
  #failure: (Omit<FailedResponse, 'body'> & { parts: Buffer[]; size: number }) | undefined;
  #decompressor: Transform | undefined;
  #hasEnded = false;
  #isOver = false;
  #isClosed = false;
  #isPaused = false;
  #hasEvent = false;
  #lastEventAt: number;
  isTaken = false;

  constructor({ answer, outbound, timeouts, now, listener }: UpstreamCall) {
    this.#decoder = answer.decoder;
    this.#expectedType = answer.contentType ?? outbound.contentType;
    this.#outbound = outbound;
    this.#timeouts = timeouts;
    this.#now = now;
    this.#listener = listener;
    this.#lastEventAt = now();
  }

  send(call: UpstreamCall): void {
    const { dispatcher, baseUrl, needsHttp2, answer, authHeaders, traceHeaders, userAgent } = call;
    const { path, method, headers, body } = answer.request;
    const { origin, prefix } = placeOf(baseUrl);
    const options: NetworkDispatchOptions = {
      origin,
      path: prefix + path,
      method,
      headers: { ...traceHeaders, ...headers, ...authHeaders, 'user-agent': userAgent },
      body,
      needsHttp2,
      mayResend: true,
    };
    dispatcher.dispatch(options, this);
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#lastEventAt = this.#now();
    this.#decompressor?.resume();
    this.#controller?.resume();
  }

  abort(error: AppError): void {
    if (this.#isOver) return;
    this.#fail(error);
    this.#breakOff(error);
  }

  discard(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#breakOff(new Error('The consumer has all it wants.'));
  }

  checkTimeouts(now: number): void {
    if (this.#isOver) {
      if (now - this.#lastEventAt >= lingerMs) {
        this.#breakOff(new Error('The upstream keeps its answer open.'));
      }
      return;
    }
    if (this.#isPaused) return;
    const { idleMs, firstEventMs } = this.#timeouts;
    const isWhole = this.#decoder.isWhole === true;
    const limit = isWhole ? Math.min(lingerMs, idleMs) : this.#hasEvent ? idleMs : firstEventMs;
    if (now - this.#lastEventAt < limit) return;
    const what = this.#hasEvent ? 'fell silent in the middle of the answer' : 'did not begin to answer';
    if (!this.#failure && this.#endWhole()) {
      this.#breakOff(new Error('The upstream keeps its answer open.'));
      return;
    }
    const message = `The upstream ${what} for ${Math.round(limit / 1000)} seconds; try again.`;
    this.abort(this.#brokenFailureError() ?? new AppError('upstream_timeout', message));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isOver) controller.abort(new Error('The call ended before it was sent.'));
    else {
      this.isTaken = true;
      this.#listener.onConnected?.();
    }
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: UpstreamHeaders,
  ): void {
    // Early hints and the like announce the answer; they are not it.
    if (status < 200) return;
    this.#listener.onHead?.(status, headers);
    const contentType = String(headers['content-type'] ?? '').toLowerCase();
    const expected = this.#expectedType;
    const isExpected =
      typeof expected === 'string' ? contentType.startsWith(expected) : expected.test(contentType);
    if (status !== 200 || !isExpected) {
      this.#failure = { status, headers, parts: [], size: 0 };
      this.isTaken = false;
    }
    const coding = String(headers['content-encoding'] ?? '').toLowerCase();
    if (coding !== '' && coding !== 'identity') this.#decompress(coding);
  }

  #decompress(coding: string): void {
    const decompressor = decompressors.get(coding)?.();
    if (!decompressor) {
      const message = `The upstream compressed its answer in a way that was not asked for (${coding.slice(0, 40)}). Switch compression off there.`;
      this.abort(new AppError('upstream_protocol', message));
      return;
    }
    this.#decompressor = decompressor;
    decompressor.on('data', (chunk: Buffer) => this.#takeBytes(chunk));
    decompressor.on('drain', () => {
      if (!this.#isPaused) this.#controller?.resume();
    });
    decompressor.on('end', () => this.#takeEnd());
    decompressor.on('error', (cause) => {
      const message = 'The upstream sent a compressed answer that is damaged; try again.';
      this.abort(new AppError('upstream_protocol', message, { cause }));
    });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#decompressor) this.#takeBytes(chunk);
    else if (!this.#isOver && !this.#decompressor.write(chunk)) this.#controller?.pause();
  }

  onResponseEnd(): void {
    this.#hasEnded = true;
    if (this.#decompressor && !this.#isOver) this.#decompressor.end();
    else this.#takeEnd();
  }

  #takeBytes(chunk: Buffer): void {
    // Nothing after the end mark is read; the connection is kept if the upstream closes the stream.
    if (this.#isOver) return;
    const failure = this.#failure;
    if (!failure) {
      if (this.#decoder.isShownAtEnd) this.#noteProgress();
      this.#read(chunk);
      return;
    }
    failure.parts.push(chunk);
    failure.size += chunk.length;
    const error = failure.size > maxFailureBody ? this.#failureError() : undefined;
    if (error) this.abort(error);
  }

  #takeEnd(): void {
    if (!this.#isOver) {
      const error = this.#failureError();
      if (error) this.#fail(error);
      else this.#read(undefined);
    }
    if (!this.#isOver) {
      const message = 'The upstream ended its answer without an end mark; try again.';
      this.#fail(new AppError('upstream_protocol', message));
    }
    this.#close();
  }

  onResponseError(_controller: Dispatcher.DispatchController, cause: Error): void {
    if (isSurelyUnsent(cause)) this.isTaken = false;
    // What broke behind a whole answer has cost nothing of it.
    if (!this.#isOver && !this.#failure && this.#decoder.isWhole === true) this.#endWhole();
    if (!this.#isOver) {
      const message = this.#hasEvent
        ? 'The connection to the upstream broke in the middle of the answer; try again.'
        : 'The connection to the upstream broke before its answer; try again in a moment.';
      this.#fail(this.#brokenFailureError() ?? networkError(cause, message));
    }
    this.#close();
  }

  /** Undefined: the upstream's bytes have ended. */
  #read(chunk: Buffer | undefined): void {
    const events = this.#decode(chunk);
    if (events instanceof AppError) this.abort(events);
    else this.#emit(events);
  }

  #decode(chunk: Buffer | undefined): readonly TurnEvent[] | AppError {
    try {
      return chunk ? this.#decoder.push(chunk) : this.#decoder.end();
    } catch (cause) {
      const message = 'The upstream sent what cannot be decoded; try again.';
      return new AppError('upstream_protocol', message, { cause });
    }
  }

  /** Some upstreams neither mark the end of an answer nor close it, or cut the connection there: one that is whole ends well. */
  #endWhole(): boolean {
    const events = this.#decode(undefined);
    if (events instanceof AppError || events.at(-1)?.type !== 'finish') return false;
    this.#emit(events);
    return true;
  }

  #noteProgress(): void {
    this.#hasEvent = true;
    this.#lastEventAt = this.#now();
  }

  #emit(events: readonly TurnEvent[]): void {
    if (this.#isOver || events.length === 0) return;
    this.#noteProgress();
    const last = events[events.length - 1];
    if (last?.type === 'finish' || last?.type === 'error') this.#isOver = true;
    const goesOn = this.#listener.onEvents(events);
    if (goesOn || this.#isOver) return;
    this.#isPaused = true;
    this.#decompressor?.pause();
    this.#controller?.pause();
  }

  /** The end, unless the events before it were one. */
  #fail(error: AppError): void {
    this.#emit([{ type: 'error', error }]);
  }

  #breakOff(error: Error): void {
    this.#decompressor?.destroy();
    this.#controller?.abort(error);
    // What has been received whole cannot be aborted.
    if (this.#hasEnded) this.#close();
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.onClosed();
  }

  #failureError(): AppError | undefined {
    if (!this.#failure) return undefined;
    const { status, headers, parts, size } = this.#failure;
    const body = Buffer.concat(parts, Math.min(size, maxFailureBody));
    return this.#outbound.classifyFailure({ status, headers, body });
  }

  /** Of a failure that broke off: half an answer is no word of the vendor about the account. */
  #brokenFailureError(): AppError | undefined {
    const error = this.#failureError();
    if (error?.fault !== 'account') return error;
    const { code, message, cause, retryAfterMs } = error;
    return new AppError(code, message, {
      cause,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      fault: 'network',
      failover: 'once',
    });
  }
}
