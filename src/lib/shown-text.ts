/**
 * Characters that a terminal obeys, that change the order of text, or that are invisible: control and format characters,
 * line separators, lone surrogates, and those that programs are to ignore, such as tags and fillers.
 */
const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;
/** The same, and as a group the characters that join several ones to one emoji, which are kept. */
const unseenOrJoining =
  /(?<=\p{Emoji}[\ufe0f\u{1f3fb}-\u{1f3ff}]{0,2})(\u200d(?=\p{Extended_Pictographic})|\ufe0f)|[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;
const unseenInName =
  /(?!\u200c|\u200d|\ufe0f)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
/** A longer word is no key and may be cut anywhere. */
const longestWord = 256;
const betweenWords = new Set(' \t\r\n"\'`,;:=&(){}[]<>');
/** A cheap first look: most text has none of these characters. */
const notPlain = /[^\n -~]/;
const notPlainLine = /[^ -~]/;

/** For names that people read in lists: none of these characters, except those that join emoji and scripts. */
export function hasNothingUnseen(text: string): boolean {
  return !unseenInName.test(text);
}

/** JSON with every character escaped that a terminal would obey or that would end a line. */
export function plainJson(json: string): string {
  if (!notPlain.test(json)) return json;
  return json.replace(unseen, (character) => (character === '\n' ? character : unicodeEscape(character)));
}

/** Text for a terminal: line ends stay, and what is invisible shows as `\u{1b}`. */
export function plainText(text: string): string {
  if (!notPlain.test(text)) return text;
  return text.replace(unseenOrJoining, (character: string, joining: string | undefined) =>
    joining !== undefined || character === '\n'
      ? character
      : `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

/** The same on one line, for a value that is put into a sentence or a table. */
export function plainLine(text: string): string {
  if (!notPlainLine.test(text)) return text;
  return plainText(text.replace(/[\t\n\v\f\r\u0085\u2028\u2029]+/g, ' '));
}

/** A text, or its beginning where it is longer: for names and addresses, which hold no secret. */
export function shortened(text: string, longest: number): string {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

/**
 * The beginning of a text from outside, cut between words: too little may be left of a secret that is cut through to
 * recognise it.
 */
export function beginningOf(text: string, mostCharacters: number): string {
  if (text.length <= mostCharacters) return text;
  const least = Math.max(0, mostCharacters - longestWord);
  let end = mostCharacters;
  while (end > least && !betweenWords.has(text.charAt(end - 1))) end -= 1;
  const isInWord = end === least && !betweenWords.has(text.charAt(end - 1));
  return `${text.slice(0, isInWord && least > 0 ? mostCharacters : end)}…`;
}

/** `\u001b`, of a character beyond the first plane two of them. */
export function unicodeEscape(character: string): string {
  let escaped = '';
  for (let index = 0; index < character.length; index += 1)
    escaped += `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`;
  return escaped;
}
