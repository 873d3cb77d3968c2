import { AppError } from '../core/errors.ts';
import { isSurelyUnsent, type UnsentPhase, unsentIn } from '../lib/network/transport-errors.ts';

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
