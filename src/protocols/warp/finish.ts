import { AppError } from '../../core/errors.ts';
import { shortened } from '../../lib/shown-text.ts';
import { upstreamWords } from '../upstream-words.ts';
import { type StreamFinished, StreamFinishedSchema } from './gen/warp_pb.js';
import { internalErrorOf, upstreamFailed } from './internal-error.ts';

/** How long a model that is overloaded should rest before another try. */
const modelRestMs = 5_000;

/** Numbers of the fields that are figures. One that could not be read is still no reason. */
const figures: ReadonlySet<number> = new Set(
  StreamFinishedSchema.fields.flatMap((field) => (field.oneof ? [] : [field.number])),
);

/**
 * How the upstream ended the turn: done, cut at its token limit, or without a reason. Throws an AppError for
 * any other end: a reason of an unknown number is not success.
 */
export function endingOf(finished: StreamFinished): 'done' | 'length' | 'unnamed' {
  const { reason } = finished;
  switch (reason.case) {
    case 'done':
      return 'done';
    case 'maxTokenLimit':
      return 'length';
    case 'quotaLimit':
      throw spent('Wait for its quota to return, or add credits.');
    case 'subscriptionLimit': {
      const words = upstreamWords(reason.value.message);
      throw spent(words === '' ? 'Look into its plan.' : `The upstream says: ${words}`);
    }
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
      // The account's own credential was accepted: the key that was not is its model vendor's.
      throw new AppError(
        'upstream_unauthorized',
        "The model's vendor refused the key stored with the upstream account. Correct that key.",
        {
          cause: new Error(`the model is ${JSON.stringify(shortened(reason.value.modelName, 200))}`),
          fault: 'model',
          // Not remembered as a refusal of the model: its owner may correct the key at once.
          failover: 'once',
        },
      );
    case 'internalError':
      throw internalErrorOf(reason.value.message, modelRestMs);
    case 'other':
      throw upstreamFailed(new Error('the upstream ended the turn for a reason it does not name'));
    default: {
      const unknown = (finished.$unknown ?? []).filter(({ no }) => !figures.has(no));
      if (unknown.length > 0) {
        const numbers = [...new Set(unknown.map(({ no }) => no))].slice(0, 10).join(', ');
        throw upstreamFailed(new Error(`the end has no reason that is known here, but field ${numbers}`));
      }
      return 'unnamed';
    }
  }
}

/** No reason counts as done only where there is an answer. */
export function nothingAnswered(): AppError {
  return upstreamFailed(new Error('the end has no reason, and nothing was answered'));
}

function spent(advice: string): AppError {
  return new AppError('upstream_quota_exhausted', `The account has no credits left. ${advice}`);
}
