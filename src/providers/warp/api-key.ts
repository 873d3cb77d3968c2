import { AppError } from '../../core/errors.ts';

/** The key as it can stand in a header. Throws AppError `invalid_request` when it cannot, never showing the key. */
export function checkApiKey(key: string): string {
  const trimmed = key.trim();
  if (trimmed === '') throw invalid('The API key is empty; paste the whole key.');
  if (!/^[\x21-\x7e]+$/.test(trimmed)) {
    throw invalid('The API key holds spaces or characters no key has; paste it again.');
  }
  return trimmed;
}

/** As checkApiKey, with the `wk-` that every key of Warp begins with put in front if it is missing. */
export function normalizeWarpKey(key: string): string {
  const checked = checkApiKey(key);
  if (checked === 'wk-') throw invalid('The API key is only its prefix; paste the whole key.');
  return checked.startsWith('wk-') ? checked : `wk-${checked}`;
}

function invalid(message: string): AppError {
  return new AppError('invalid_request', message, { param: 'api_key' });
}
