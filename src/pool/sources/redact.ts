/** Words so long and so mixed that they may be a key or a token. */
const secretLike = /[A-Za-z0-9_./+=-]{16,}/g;

/** Text from outside that may be shown to owners: one line, bounded, and nothing in it that looks like a secret. */
export function redacted(text: string, secrets: readonly string[] = []): string {
  let clean = text;
  for (const secret of secrets) if (secret !== '') clean = clean.replaceAll(secret, '[secret]');
  clean = clean.replaceAll(secretLike, (word) =>
    /\d/.test(word) && /[A-Za-z]/.test(word) ? '[secret]' : word,
  );
  clean = clean.replaceAll(/\p{Cc}+/gu, ' ').trim();
  return clean.length > 300 ? `${clean.slice(0, 300)}…` : clean;
}
