import type { AppError, VendorAnswer } from '../../core/errors.ts';
import type { Dialect } from '../../core/protocol.ts';

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

/** What the upstream said of a relayed request that it refused. */
export function vendorAnswerIn({ vendorAnswer }: AppError, dialect: Dialect): VendorAnswer | undefined {
  return vendorAnswer?.dialect === dialect ? vendorAnswer : undefined;
}
