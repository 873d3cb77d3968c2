import type { Dispatcher } from 'undici';
import { AppError } from '../core/errors.ts';
import type { ProviderHttp } from '../core/provider.ts';
import { afterReading, type Clock, systemClock } from '../lib/clock.ts';
import { isSurelyUnsent, type UnsentPhase, unsentIn } from '../lib/network/transport-errors.ts';
import { readBytes } from '../lib/read-bytes.ts';
import { request } from '../lib/undici.ts';

/** Side endpoints answer with lists of models and figures; more than this is not one of theirs. */
const maxBodyBytes = 4 * 1024 * 1024;

/**
 * ProviderHttp over undici. Follows no redirect, so no credential goes anywhere but the named host. Throws AppError
 * `upstream_timeout`, `upstream_unavailable` (no answer), `upstream_protocol` (an answer above 4 MiB) or `cancelled`.
 */
export function createProviderHttp(
  dispatcher: Dispatcher,
  clock: Pick<Clock, 'after'> = systemClock,
): ProviderHttp {
  return async ({ method, url, headers, body, timeoutMs, signal, isRepeatable }) => {
    const timeout = new AbortController();
    const cancel = afterReading(clock, timeoutMs, () => timeout.abort());
    try {
      const options = {
        method,
        headers,
        ...(body !== undefined && { body }),
        signal: signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal,
        mayResend: isRepeatable ?? method === 'GET',
      };
      const answer = await request(dispatcher, url, options);
      return {
        status: answer.statusCode,
        headers: answer.headers,
        body: await readBytes(answer.body, maxBodyBytes, tooLarge),
      };
    } catch (cause) {
      if (cause instanceof AppError) throw cause;
      if (signal?.aborted) throw new AppError('cancelled', 'The request was cancelled.', { cause });
      if (timeout.signal.aborted && !isSurelyUnsent(cause)) {
        throw new AppError('upstream_timeout', 'The provider did not answer in time. Try again.', { cause });
      }
      throw networkError(cause, 'The provider broke off before it had answered. Try again.');
    } finally {
      cancel();
    }
  };
}

const tooLarge = (): AppError =>
  new AppError('upstream_protocol', 'The provider answered with more than it should.');

/** The phases in which no connection could be made. */
const unconnected: ReadonlySet<UnsentPhase> = new Set(['name', 'connect', 'tls', 'proxy']);

/**
 * The error for a transport that failed, which is no fault of an account. Where the request surely never reached the
 * upstream, the message gives the reason; otherwise it is `message`.
 */
export function networkError(cause: unknown, message: string): AppError {
  const unsent = unsentIn(cause);
  const isUnsent = isSurelyUnsent(cause);
  return new AppError(
    'upstream_unavailable',
    unsent ? `The upstream was not reached: ${unsent.message}` : message,
    {
      cause,
      fault: 'network',
      isUnreachable: unsent ? unconnected.has(unsent.phase) : isUnsent,
      // Every account would meet the same; what was sent may have been carried out, and charged.
      failover: unsent?.phase === 'protocol' ? 'no' : 'once',
    },
  );
}
