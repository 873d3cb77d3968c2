/** Names of the configuration file, which `*` makes patterns. */

export function isPattern(name: string): boolean {
  return name.includes('*');
}

/** Whether `*` of the pattern may stand for parts of the name, none of them too. */
export function matches(pattern: string, name: string): boolean {
  const [head = '', ...others] = pattern.split('*');
  const tail = others.pop();
  if (tail === undefined) return pattern === name;
  if (!name.startsWith(head) || !name.endsWith(tail) || name.length < head.length + tail.length) return false;
  const end = name.length - tail.length;
  let at = head.length;
  for (const part of others) {
    const found = name.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/** Exact names first, then the pattern that says most. */
export function bySpecificity(one: string, other: string): number {
  const [stars, otherStars] = [starsIn(one), starsIn(other)];
  if (stars === 0 || otherStars === 0) return stars - otherStars;
  return other.length - otherStars - (one.length - stars) || stars - otherStars;
}

function starsIn(name: string): number {
  return name.split('*').length - 1;
}
