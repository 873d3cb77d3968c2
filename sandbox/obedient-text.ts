// What an obedient model says. Each rule is one order that a person, or a gateway, may give in words.
import { objectAt } from './answer.ts';
import { exampleOf } from './example-value.ts';

/** What the model is shown, as text. */
export interface Shown {
  readonly rules: string;
  /** What the user asks for now, without the earlier conversation that a query may tell before it. */
  readonly request: string;
  /** Everything before, the oldest first. */
  readonly earlier: string;
  /** Tool results that came with the request. */
  readonly results: readonly string[];
}

type Rule = (shown: Shown) => string | undefined;

/** The first rule that has an answer gives it. */
export function obedientText(shown: Shown): string {
  for (const rule of rules) {
    const answer = rule(shown);
    if (answer !== undefined) return answer;
  }
  return [...shown.results.map((result) => `It says: ${result}`), `You said: ${shown.request}`].join('\n');
}

const rules: readonly Rule[] = [
  json,
  ruledWord,
  continuation,
  literalText,
  demandedWord,
  sum,
  fact,
  known,
  counting,
  longText,
  results,
];

/** `Answer with ... JSON`, with a schema behind that word, or with the keys that the request names in quotes. */
function json({ rules: text, request }: Shown): string | undefined {
  const order = /\b(?:answer|reply|respond|return)\b[^.]*\bJSON\b/i;
  if (!order.test(text) && !order.test(request)) return undefined;
  const schemaAt = text.search(/\bschema\b/i);
  const schema = schemaAt === -1 ? undefined : objectAt(text, text.indexOf('{', schemaAt));
  if (schema) return JSON.stringify(exampleOf(schema, request));
  const keys = [...request.matchAll(/"(\w+)"(?: \(an? (\w+)\))?/g)];
  const properties = Object.fromEntries(keys.map(([, key = '', type = 'string']) => [key, { type }]));
  const required = Object.keys(properties);
  if (required.length === 0) return JSON.stringify({ answer: request });
  return JSON.stringify(exampleOf({ type: 'object', properties, required }, ''));
}

/** `reply with exactly the word "quartz"`, as a rule. */
function ruledWord({ rules: text }: Shown): string | undefined {
  return /\b(?:answer|reply|respond)\b[^.]*\b(?:exactly|only|just)\b[^.]*"([^"]+)"/i.exec(text)?.[1];
}

/** Told that its answer has begun already, it goes on with the word it broke off in. */
function continuation(shown: Shown): string | undefined {
  if (!/\bbeginning of your answer\b/i.test(shown.request)) return undefined;
  const begun = shown.earlier.split('\n').findLast((line) => line !== '') ?? '';
  const half = /\S*$/.exec(begun)?.[0] ?? '';
  const whole = known({ ...shown, request: shown.earlier }) ?? '';
  return half !== '' && whole.startsWith(half) ? `${whole.slice(half.length)}.` : ' and so on.';
}

/** `Say exactly: ...`, `Repeat this text exactly, nothing else: ...`. */
function literalText({ request }: Shown): string | undefined {
  return /\b(?:say|repeat|reply with|answer with)\b[^:.\n]*:\s*(\S.*)$/i.exec(request)?.[1];
}

/** `Reply with just PONG`, `Say "hi"`: one word in capitals or quotes. */
function demandedWord({ request }: Shown): string | undefined {
  const match = /\b(?:[Ss]ay|[Rr]eply|[Aa]nswer|[Rr]espond)\b[^.\n]*?(?:"([^"\n]+)"|\b(\p{Lu}{2,})\b)/u.exec(
    request,
  );
  return match?.[1] ?? match?.[2];
}

function sum({ request }: Shown): string | undefined {
  const [, left, sign, right] = /(-?\d+)\s*([-+*×x])\s*(-?\d+)/.exec(request) ?? [];
  if (left === undefined || right === undefined) return undefined;
  if (sign === '+') return String(Number(left) + Number(right));
  return String(sign === '-' ? Number(left) - Number(right) : Number(left) * Number(right));
}

/** `What is my name?`, when it was said before: `My name is Ada.` */
function fact({ request, earlier }: Shown): string | undefined {
  const asked = /\bwhat(?:'s| is) my (\w+)/i.exec(request)?.[1];
  if (asked === undefined) return undefined;
  return new RegExp(`\\bmy ${asked} is ([^\\s.,!]+)`, 'i').exec(`${earlier}\n${request}`)?.[1];
}

/** The one thing it knows. */
function known({ request }: Shown): string | undefined {
  return /\bcapital of France\b/.test(request) ? 'Paris' : undefined;
}

function counting({ request }: Shown): string | undefined {
  const [, first, last] = /\bcount from (\d{1,6}) to (\d{1,6})\b/i.exec(request) ?? [];
  if (first === undefined || last === undefined) return undefined;
  const length = Math.min(10_000, Math.max(1, Number(last) - Number(first) + 1));
  return Array.from({ length }, (_, index) => Number(first) + index).join(' ');
}

/** `in 300 words`, `at length`. */
function longText({ request }: Shown): string | undefined {
  const words =
    /\b(\d{1,5}) words\b/i.exec(request)?.[1] ?? (/\bat length\b/i.test(request) ? 300 : undefined);
  if (words === undefined) return undefined;
  return Array.from({ length: Number(words) }, (_, index) => `word${index + 1}`).join(' ');
}

function results(shown: Shown): string | undefined {
  if (shown.results.length === 0 || shown.request !== '') return undefined;
  return shown.results.map((result) => `It says: ${result}`).join('\n');
}
