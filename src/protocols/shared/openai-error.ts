import type { AppError } from '../../core/errors.ts';

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
