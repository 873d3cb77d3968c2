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
