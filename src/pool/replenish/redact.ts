import type { KnownSecrets } from '../../lib/secrets/known-secrets.ts';
import { beginningOf, plainLine } from '../../lib/shown-text.ts';

/** Words so long and so mixed that they may be a key or a token, such as one that a source has just made. */
const secretLike = /[A-Za-z0-9_./+=-]{16,}/g;
const longest = 300;

/** Text from outside that may be shown to owners: one line, bounded, and no secret in it, known or likely. */
export function redacted(text: string, secrets: KnownSecrets): string {
  const clean = plainLine(
    secrets
      .redact(text)
      .replaceAll(secretLike, (word) => (/\d/.test(word) && /[A-Za-z]/.test(word) ? '[secret]' : word)),
  ).trim();
  return beginningOf(clean, longest);
}
