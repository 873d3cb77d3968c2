import type { AppError, VendorAnswer } from '../../core/errors.ts';
import type { Dialect, Inbound } from '../../core/protocol.ts';

/**
 * How a dialect answers with an error: in the upstream's own words where it refused a relayed request, else by the dialect's `status`
 * and `encode`.
 */
export function errorAnswers(
  dialect: Dialect,
  status: (error: AppError) => number = (error) => error.status,
  encode: (error: AppError, requestId: string) => string = encodeOpenaiError,
): Pick<Inbound<unknown>, 'errorStatus' | 'encodeError'> {
  const vendorAnswerIn = ({ vendorAnswer }: AppError): VendorAnswer | undefined =>
    vendorAnswer?.dialect === dialect ? vendorAnswer : undefined;
  return {
    errorStatus: (error) => vendorAnswerIn(error)?.status ?? status(error),
    encodeError: (error, requestId) => vendorAnswerIn(error)?.body ?? encode(error, requestId),
  };
}

/** The body of an error in both of OpenAI's dialects: all four fields, always. */
export function encodeOpenaiError(error: AppError): string {
  return JSON.stringify({
    error: {
      message: error.message,
      type: error.openaiType,
      param: error.param ?? null,
      code: error.openaiCode,
    },
  });
}
