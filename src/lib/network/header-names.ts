const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const mostKnown = 500;
const longestKnown = 64;
/** As they came, and in lower case. Servers send the same ones again and again. */
const known = new Map<string, string>();

/** The name of a header in lower case; undefined where it is none. */
export function headerName(given: string): string | undefined {
  const seen = known.get(given);
  if (seen !== undefined) return seen;
  if (!token.test(given)) return undefined;
  const name = given.toLowerCase();
  // A copy: a part of a text keeps all of it.
  if (known.size < mostKnown && given.length <= longestKnown) known.set(Buffer.from(given).toString(), name);
  return name;
}
