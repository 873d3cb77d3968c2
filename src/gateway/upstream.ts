import type { Dispatcher } from 'undici';
import { AppError } from '../core/errors.ts';
import type { FailedResponse, Outbound, UpstreamAnswer } from '../core/protocol.ts';
import type { TurnEvent } from '../core/turn.ts';
import type { CallListener, RunningCall, UpstreamTimeouts } from '../core/turn-caller.ts';
import type { NetworkDispatchOptions } from '../lib/network/exchange.ts';
import { isSurelyUnsent } from '../lib/network/transport-errors.ts';
import { networkError } from '../providers/network-error.ts';

export interface UpstreamCall {
  readonly dispatcher: Dispatcher;
  /** Scheme, host and an optional path prefix; no trailing slash. */
  readonly baseUrl: string;
  readonly needsHttp2: boolean;
  readonly outbound: Outbound;
  readonly answer: UpstreamAnswer;
  readonly authHeaders: Readonly<Record<string, string>>;
  readonly userAgent: string;
  readonly timeouts: UpstreamTimeouts;
  readonly now: () => number;
  readonly listener: CallListener;
}

const maxFailureBody = 64 * 1024;
/** How long an upstream may keep the connection after its end mark. */
const lingerMs = 2_000;

/** Sends one turn upstream and reads its answer: one callback a read, never two terminal events. */
export function callUpstream(call: UpstreamCall): RunningCall {
  const { answer, outbound, timeouts, listener } = call;
  let controller: Dispatcher.DispatchController | undefined;
  let isOver = false;
  let isClosed = false;
  let isTaken = false;
  let hasEvent = false;
  let isPaused = false;
  let lastEventAt = call.now();
  let failure: (Omit<FailedResponse, 'body'> & { parts: Buffer[]; size: number }) | undefined;

  function emit(events: readonly TurnEvent[]): void {
    if (isOver || events.length === 0) return;
    hasEvent = true;
    lastEventAt = call.now();
    const last = events[events.length - 1];
    if (last?.type === 'finish' || last?.type === 'error') isOver = true;
    const goOn = listener.onEvents(events);
    if (!goOn && !isOver) {
      isPaused = true;
      controller?.pause();
    }
  }

  /** The end, unless the events before it were one. */
  function fail(error: AppError): void {
    emit([{ type: 'error', error }]);
  }

  function breakOff(error: Error): void {
    controller?.abort(error);
  }

  function end(error: AppError): void {
    if (isOver) return;
    fail(error);
    breakOff(error);
  }

  function close(): void {
    if (isClosed) return;
    isClosed = true;
    listener.onClosed();
  }

  function read(decode: () => readonly TurnEvent[]): void {
    let events: readonly TurnEvent[];
    try {
      events = decode();
    } catch (cause) {
      end(
        new AppError('upstream_protocol', 'The upstream sent what cannot be decoded; try again.', { cause }),
      );
      return;
    }
    emit(events);
  }

  function failureError(): AppError | undefined {
    if (!failure) return undefined;
    const { status, headers, parts, size } = failure;
    return outbound.classifyFailure({
      status,
      headers,
      body: Buffer.concat(parts, Math.min(size, maxFailureBody)),
    });
  }

  /** Of a failure that broke off: half an answer is no word of the vendor about the account. */
  function brokenFailureError(): AppError | undefined {
    const error = failureError();
    if (error?.fault !== 'account') return error;
    const { code, message, cause, retryAfterMs } = error;
    return new AppError(code, message, {
      cause,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      fault: 'network',
      failover: 'once',
    });
  }

  const { origin, pathname } = new URL(call.baseUrl);
  const options: NetworkDispatchOptions = {
    origin,
    path: pathname === '/' ? answer.request.path : `${pathname}${answer.request.path}`,
    method: answer.request.method,
    headers: { ...answer.request.headers, ...call.authHeaders, 'user-agent': call.userAgent },
    body: answer.request.body,
    needsHttp2: call.needsHttp2,
    mayResend: true,
    // Time limits are checked in this file, with its own errors.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  call.dispatcher.dispatch(options, {
    onRequestStart(given) {
      controller = given;
      if (isOver) given.abort(new Error('The call ended before it was sent.'));
      else {
        isTaken = true;
        listener.onConnected?.();
      }
    },
    onResponseStart(_controller, status, headers) {
      // Early hints and the like announce the answer; they are not it.
      if (status < 200) return;
      listener.onStatus?.(status);
      const contentType = String(headers['content-type'] ?? '').toLowerCase();
      if (status === 200 && contentType.startsWith(answer.contentType ?? outbound.contentType)) return;
      failure = { status, headers, parts: [], size: 0 };
      isTaken = false;
    },
    onResponseData(_controller, chunk) {
      // Nothing after the end mark is read; the connection is kept if the upstream closes the stream.
      if (isOver) return;
      if (!failure) {
        read(() => answer.decoder.push(chunk));
        return;
      }
      failure.parts.push(chunk);
      failure.size += chunk.length;
      const error = failure.size > maxFailureBody ? failureError() : undefined;
      if (error) end(error);
    },
    onResponseEnd() {
      if (!isOver) {
        const error = failureError();
        if (error) fail(error);
        else read(() => answer.decoder.end());
        fail(
          new AppError('upstream_protocol', 'The upstream ended its answer without an end mark; try again.'),
        );
      }
      close();
    },
    onResponseError(_controller, cause) {
      if (isSurelyUnsent(cause)) isTaken = false;
      if (!isOver) {
        const message = hasEvent
          ? 'The connection to the upstream broke in the middle of the answer; try again.'
          : 'The connection to the upstream broke before its answer; try again in a moment.';
        fail(brokenFailureError() ?? networkError(cause, message));
      }
      close();
    },
  });

  return {
    get isTaken() {
      return isTaken;
    },
    resume() {
      if (!isPaused) return;
      isPaused = false;
      lastEventAt = call.now();
      controller?.resume();
    },
    abort: end,
    discard() {
      if (isOver) return;
      isOver = true;
      breakOff(new Error('The consumer has all it wants.'));
    },
    checkTimeouts(now) {
      if (isOver) {
        if (now - lastEventAt >= lingerMs) breakOff(new Error('The upstream keeps its answer open.'));
        return;
      }
      if (isPaused) return;
      const limit = hasEvent ? timeouts.idleMs : timeouts.firstEventMs;
      if (now - lastEventAt < limit) return;
      const what = hasEvent ? 'fell silent in the middle of the answer' : 'did not begin to answer';
      end(
        brokenFailureError() ??
          new AppError(
            'upstream_timeout',
            `The upstream ${what} for ${Math.round(limit / 1000)} seconds; try again.`,
          ),
      );
    },
  };
}
