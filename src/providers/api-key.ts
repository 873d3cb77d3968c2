import { AppError } from '../core/errors.ts';

/** The key as it can stand in a header. Throws AppError `invalid_request` when it cannot, never showing the key. */
export function checkApiKey(key: string): string {
  const trimmed = key.trim();
  if (trimmed === '') throw invalidKey('The API key is empty; paste the whole key.');
  if (!/^[\x21-\x7e]+$/.test(trimmed)) {
    throw invalidKey('The API key holds spaces or characters no key has; paste it again.');
  }
  return trimmed;
}

export function invalidKey(message: string): AppError {
  return new AppError('invalid_request', message, { param: 'api_key' });
}
