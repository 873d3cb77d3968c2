import { AppError } from '../../core/errors.ts';
import type { StreamFinished } from './gen/warp_pb.js';

/** How long a model that is overloaded should rest before another try. */
const modelRestMs = 5_000;

/** How the upstream ended the turn: done, or cut at its token limit. Throws the AppError any other end stands for. */
export function endingOf(reason: StreamFinished['reason']): 'done' | 'length' {
  switch (reason.case) {
    case undefined:
    case 'done':
      return 'done';
    case 'maxTokenLimit':
      return 'length';
    case 'quotaLimit':
      throw new AppError(
        'upstream_quota_exhausted',
        'The account has no credits left. Wait for its quota to return, or add credits.',
      );
    case 'contextWindowExceeded':
      throw new AppError(
        'context_too_long',
        "The conversation is longer than the model's context. Shorten it, or choose a model with a larger one.",
      );
    case 'llmUnavailable':
      throw new AppError(
        'model_unavailable',
        'The model is not available at the moment. Try again shortly, or choose another model.',
        { retryAfterMs: modelRestMs },
      );
    case 'invalidApiKey':
      throw new AppError(
        'upstream_unauthorized',
        "The model's vendor refused the key stored with the upstream account. Correct that key.",
        { cause: new Error(`the model is ${JSON.stringify(reason.value.modelName)}`) },
      );
    case 'internalError':
      throw unavailable(new Error(`the upstream reports: ${reason.value.message}`));
    default:
      throw unavailable(new Error('the upstream ended the turn for a reason it does not name'));
  }
}

function unavailable(cause: Error): AppError {
  return new AppError('upstream_unavailable', 'The upstream failed in the middle of the turn. Try again.', {
    cause,
  });
}
