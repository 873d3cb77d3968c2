// What vendors say where an answer may not be as long as was asked for.

/** Less room than this is none: the conversation has to be shortened. */
const leastRoom = 3_000;
/** Of a message: the words stand at its beginning. */
const longestRead = 2_000;

const window = /maximum context length (?:is|of) (\d+) tokens/i;
/** The parts of the input; that of the answer has other words. */
const inputs =
  /(\d+) (?:tokens )?(?:input tokens|(?:in|from|of) (?:the )?(?:messages|prompt|functions|tools|input messages|(?:text|tool|image) input))\b/gi;
/** Anthropic's form. */
const sum = /exceed context limit: (\d+) \+ \d+ > (\d+)/;

const caps = [
  /supports at most (\d+) completion tokens/i,
  /max\w*tokens\W.{0,40}> (\d+), which is the maximum/i,
  /max\w*tokens\W.{0,80}less than or equal to \W?(\d+)/i,
  /max\w*tokens\W.{0,120}expected a value <= ?(\d+)/i,
  /range of max\w*tokens (?:is|should be) \[\d+, ?(\d+)\]/i,
];
/** Google's form: the number is the first that is too much. */
const tooMuch = /max\w*tokens\W.{0,120}to (\d+) \(exclusive\)/i;

interface MostOutput {
  readonly mostOutputTokens: number;
  /** Of every answer of the model, and not only of that to this prompt. */
  readonly isOfModel: boolean;
}

/** The longest answer that an upstream takes of the request it refused; undefined where it says nothing of that, or leaves no room. */
export function mostOutputIn(message: string): MostOutput | undefined {
  const words = message.slice(0, longestRead);
  const room = roomIn(words);
  if (room !== undefined) return room < leastRoom ? undefined : { mostOutputTokens: room, isOfModel: false };
  const told = caps.map((cap) => numberIn(cap.exec(words)?.[1])).find((cap) => cap !== undefined);
  const most = told ?? (numberIn(tooMuch.exec(words)?.[1]) ?? 0) - 1;
  return most > 0 ? { mostOutputTokens: most, isOfModel: true } : undefined;
}

function roomIn(words: string): number | undefined {
  const [, input, limit] = sum.exec(words) ?? [];
  if (input !== undefined) return Number(limit) - Number(input);
  const whole = numberIn(window.exec(words)?.[1]);
  const parts = [...words.matchAll(inputs)].map(([, tokens]) => Number(tokens));
  if (whole === undefined || parts.length === 0) return undefined;
  return whole - parts.reduce((all, part) => all + part, 0);
}

function numberIn(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}
