import { AppError } from '../core/errors.ts';
import { isSurelyUnsent, type UnsentPhase, unsentIn } from '../lib/network/transport-errors.ts';

/** Of what never reached the other side, what says that no connection can be made. */
const unconnected: ReadonlySet<UnsentPhase> = new Set(['name', 'connect', 'tls', 'proxy']);

/**
 * A transport that failed: no fault of an account. What surely never reached the upstream says why; of anything else
 * `message` is all that is known.
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
