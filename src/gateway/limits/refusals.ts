import { AppError } from '../../core/errors.ts';
import { amountOf, type Meter, type Slice } from './slices.ts';

/** While running turns have reserved what is left, some of it is soon free again. */
const runningMs = 2_000;
/** An operator may raise a budget before its window ends. */
const longestMs = 60 * 60_000;

const unitNames: Readonly<Record<Meter, string>> = {
  requests: 'requests',
  tokens: 'tokens',
  turns: 'turns',
  cost_cents: 'US cents',
  credits: 'credits',
};

/** Why a turn is refused, in the words of `/api/keys`: `requests_per_minute`, `parallel_turns`, `cost_cents per day`. */
export function limitName({ counted: { meter, windowName } }: Slice): string {
  if (windowName === 'now') return 'parallel_turns';
  return windowName === 'minute' ? `${meter}_per_minute` : `${meter} per ${windowName}`;
}

export function refusal(slice: Slice, now: number, headers: Readonly<Record<string, string>>): AppError {
  const { counted, isSpent } = slice;
  const { meter, windowName, window, isBudget } = counted;
  const limit = `${amountOf(meter, slice.limit)} ${unitNames[meter]}`;
  const endsInMs = window.endsAt - now;
  if (windowName === 'now') {
    return new AppError(
      'key_rate_limited',
      `This key may have ${limit} running at the same time: wait until one has ended.`,
      { headers, retryAfterMs: 1_000 },
    );
  }
  if (!isSpent) {
    return new AppError(
      'key_rate_limited',
      `What is left of this key's ${limit} per ${windowName} is reserved for its running turns: try again in a moment.`,
      { headers, retryAfterMs: Math.min(runningMs, endsInMs) },
    );
  }
  if (!isBudget) {
    return new AppError(
      'key_rate_limited',
      `This key may use ${limit} per minute, and has: wait for the next minute.`,
      { headers, retryAfterMs: endsInMs },
    );
  }
  const isEndless = windowName === 'total';
  const until = isEndless ? '' : ` It begins again at ${new Date(window.endsAt).toISOString()}.`;
  return new AppError(
    'key_quota_exhausted',
    `The budget of this key is used up: ${limit} ${isEndless ? 'in all' : `per ${windowName}`}.${until} The operator of this gateway can raise it.`,
    { headers, retryAfterMs: Math.min(longestMs, endsInMs) },
  );
}
