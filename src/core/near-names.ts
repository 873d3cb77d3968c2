/** Up to three of the known names that share most of their letter pairs with the one asked for, the nearest first. */
export function nearNames(name: string, known: readonly string[]): string[] {
  const wanted = letterPairs(name);
  return known
    .map((candidate) => {
      const pairs = letterPairs(candidate);
      const shared = [...wanted].filter((pair) => pairs.has(pair)).length;
      return { candidate, score: (2 * shared) / (wanted.size + pairs.size || 1) };
    })
    .filter(({ score }) => score >= 0.5)
    .sort((left, right) => right.score - left.score)
    .slice(0, 3)
    .map(({ candidate }) => candidate);
}

function letterPairs(text: string): Set<string> {
  const lower = text.toLowerCase();
  const pairs = new Set<string>();
  for (let index = 0; index + 1 < lower.length; index += 1) pairs.add(lower.slice(index, index + 2));
  return pairs;
}

const longestName = 32;
const mostWords = 4;
const longestWord = 16;
const mostNamed = 3;

/**
 * Fields that there are not, as a list with names like theirs. The names came from outside and may be a secret that lost its
 * way, so that only those are shown which are a few plain words.
 */
export function unknownFields(names: readonly string[], known: readonly string[]): string {
  const shown = names.slice(0, mostNamed).map((name) => {
    const [near] = nearNames(name, known);
    const called = isPlain(name) ? `"${name}"` : 'one whose name may be a secret';
    return { text: near === undefined ? called : `${called} (did you mean "${near}"?)`, near };
  });
  const others = names.length > mostNamed ? ` and ${names.length - mostNamed} others` : '';
  const all = shown.every(({ near }) => near !== undefined) ? '' : `; the fields are ${known.join(', ')}`;
  return shown.map(({ text }) => text).join(', ') + others + all;
}

/** `apiKey`, `refresh-token2`, `E-Mail`: keys are longer, or have digits and changes of case in their middle. */
function isPlain(name: string): boolean {
  if (name.length > longestName || !/^[A-Za-z][A-Za-z _.-]*\d{0,2}$/.test(name)) return false;
  const words = name.split(/[ _.\d-]|(?<=[a-z])(?=[A-Z])/).filter((word) => word !== '');
  return words.length <= mostWords && words.every((word) => word.length <= longestWord);
}
