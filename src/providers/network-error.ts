import { AppError } from '../core/errors.ts';
import { unsentIn } from '../lib/network/transport-errors.ts';

/**
 * A transport that failed: no fault of an account. What surely never reached the upstream says why; of anything else
 * `message` is all that is known.
 */
export function networkError(cause: unknown, message: string): AppError {
  const unsent = unsentIn(cause);
  return new AppError(
    'upstream_unavailable',
    unsent ? `The upstream was not reached: ${unsent.message}` : message,
    {
      cause,
      fault: 'network',
      // Every account would meet the same.
      ...(unsent?.phase === 'protocol' && { failover: 'no' }),
    },
  );
}
