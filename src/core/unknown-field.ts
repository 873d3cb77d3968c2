import { nearNames } from './near-names.ts';

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
