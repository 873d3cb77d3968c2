import { AppError } from '../core/errors.ts';
import { HttpFault } from '../lib/http/http-fault.ts';
import { httpFaultFrom } from '../lib/http/http-server.ts';

/** Whatever was thrown about a request, as the error its client sees. */
export function appErrorFrom(error: unknown): AppError {
  const fault = httpFaultFrom(error);
  if (!(fault instanceof HttpFault)) return AppError.from(fault);
  switch (fault.kind) {
    case 'foreign_host':
      return new AppError('host_not_allowed', fault.message);
    case 'foreign_origin':
      return new AppError('origin_not_allowed', fault.message);
    case 'invalid_request':
    case 'invalid_body':
      return new AppError('invalid_request', fault.message);
    case 'client_left':
      return new AppError('cancelled', fault.message);
    case 'unsupported_encoding':
      return new AppError('unsupported_media_type', fault.message);
    default:
      return new AppError(
        fault.kind,
        fault.message,
        fault.retryAfterMs === undefined ? {} : { retryAfterMs: fault.retryAfterMs },
      );
  }
}
