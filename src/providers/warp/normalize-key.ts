import { checkApiKey, invalidKey } from '../api-key.ts';

/** As checkApiKey, with the `wk-` that every key of Warp begins with put in front if it is missing. */
export function normalizeWarpKey(key: string): string {
  const checked = checkApiKey(key);
  if (checked === 'wk-') throw invalidKey('The API key is only its prefix; paste the whole key.');
  return checked.startsWith('wk-') ? checked : `wk-${checked}`;
}
