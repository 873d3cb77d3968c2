import type { CliActions } from './actions.ts';
import { UsageError } from './usage-error.ts';

export const noKeyGiven =
  'The account needs a key: give --api-key KEY, --api-key - with the key on standard input, or ACCOUNT_API_KEY.';

/** A credential given as a word, or with `-` on standard input. */
export async function readSecret(given: string | undefined, actions: CliActions): Promise<string> {
  const secret = (given === '-' ? await actions.readStdin() : given)?.trim();
  if (secret !== undefined && secret !== '') return secret;
  throw new UsageError(given === '-' ? 'Standard input held no key.' : noKeyGiven);
}
