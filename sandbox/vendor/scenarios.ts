// The answers that all simulated vendors give alike, in no vendor's form.
import { createHash } from 'node:crypto';
import { requestedCalls } from '../answer.ts';
import { exampleOf } from '../example-value.ts';
import { demandedCalls, type OfferedTool } from '../obedient-calls.ts';
import { obedientText, type Shown } from '../obedient-text.ts';
import type { JsonObject } from '../struct.ts';

/** What of a request the scenarios look at. */
export interface Facts {
  /** The user's last text. */
  readonly text: string;
  /** What the system, or the developer, says. */
  readonly rules: string;
  /** All texts before the user's last. */
  readonly earlier: readonly string[];
  /** The answer that the last message begins. */
  readonly begun?: string | undefined;
  readonly tools: readonly OfferedTool[];
  /** That the last messages bring, in the order of their calls. */
  readonly results: readonly Result[];
  /** Messages with calls since the user's last text. */
  readonly rounds: number;
  /** All of the request. */
  readonly media: readonly Medium[];
  readonly schema?: JsonObject | undefined;
  /** Any JSON is wanted. */
  readonly isJson?: boolean | undefined;
  readonly isThinking: boolean;
  readonly stop?: readonly string[] | undefined;
  /** A piece of text counts as a token. */
  readonly maxTokens?: number | undefined;
  readonly mustCall: boolean;
  readonly mayCall: boolean;
  readonly isParallel: boolean;
}

interface Result {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly images: number;
}

export interface Medium {
  readonly kind: 'image' | 'document';
  readonly type: string;
  readonly bytes: number;
}

export interface Call {
  /** Behind the vendor's own prefix of an id. */
  readonly id: string;
  readonly name: string;
  /** In the pieces that a stream sends. */
  readonly pieces: readonly string[];
}

export interface Usage {
  /** With what was read from and written to a cache. */
  readonly input: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  /** With the tokens of thoughts. */
  readonly output: number;
  readonly thinking: number;
}

export interface Answer {
  readonly thoughts: readonly string[];
  readonly isRedacted: boolean;
  readonly texts: readonly string[];
  readonly refusal: boolean;
  readonly calls: readonly Call[];
  readonly finish: 'stop' | 'length' | 'stop-sequence' | 'calls' | 'filter';
  readonly stopSequence: string | null;
  readonly everyMs?: number | undefined;
  readonly usage: Usage;
}

export const soundText = 'Hello from the upstream – ünïcode.';

const plainUsage: Usage = { input: 21, cacheRead: 16, cacheWrite: 0, output: 7, thinking: 3 };
/** What an answer that breaks had cost: no other scenario tells such figures. */
export const abandonedUsage: Usage = { input: 1_000, cacheRead: 0, cacheWrite: 0, output: 500, thinking: 0 };

const text: Answer = {
  thoughts: [],
  isRedacted: false,
  texts: ['Hello', ' from', ' the', ' upstream', ' – ünïcode.'],
  refusal: false,
  calls: [],
  finish: 'stop',
  stopSequence: null,
  usage: plainUsage,
};

const thoughtOf = (round: number) => [`Step ${round + 1}:`, ' let me think.'];

/** Of every vendor; the vendor's own prefix stands before it in the name of a model. */
const scenarios: Readonly<Record<string, (facts: Facts) => Partial<Answer>>> = {
  text: () => ({}),
  echo: (facts) => ({ texts: ['You said: ', ...(facts.text.match(/.{1,12}/gsu) ?? [])] }),
  /** Two calls side by side, of the first two tools; then what came of them is read out. */
  tools: (facts) => {
    if (facts.results.length > 0) return { texts: resultTexts(facts) };
    return { calls: callsOf(facts, facts.isParallel ? 2 : 1) };
  },
  /** Thinks before each of three calls, one after another, and before the text that ends the loop. */
  thinking: (facts) => ({
    thoughts: facts.isThinking ? thoughtOf(facts.rounds) : [],
    ...(facts.tools.length === 0 || facts.rounds >= 3
      ? { texts: facts.rounds > 0 ? resultTexts(facts) : text.texts }
      : { calls: callsOf(facts, 1) }),
  }),
  json: (facts) => ({
    texts: JSON.stringify(facts.schema ? exampleOf(facts.schema, facts.text) : { none: true }).match(
      /.{1,6}/gsu,
    ) ?? [''],
  }),
  image: ({ media }) => ({
    texts: [
      'I see ',
      media.map(({ kind, type, bytes }) => `${kind} ${type} of ${bytes} bytes`).join(', ') || 'nothing',
      '.',
    ],
  }),
  /** Ten pieces a second, for twenty seconds. */
  ticks: () => ({ texts: Array.from({ length: 200 }, (_none, index) => `tick ${index + 1} `), everyMs: 100 }),
  length: () => ({ texts: ['Cut sho'], finish: 'length' }),
  refusal: () => ({ texts: ['I am sorry,', ' I cannot help with that.'], refusal: true }),
  filter: () => ({ texts: ['No.'], finish: 'filter' }),
  /** Thinks, makes the calls that a text of the user's orders (`call NAME {json}`), and reads out what came of them. */
  agent: (facts) => ({
    thoughts: facts.isThinking ? thoughtOf(facts.rounds) : [],
    ...(facts.results.length > 0 ? { texts: resultTexts(facts) } : { calls: orderedCalls(facts) }),
  }),
  /** Does what rules and request demand, as the obedient model of Warp's sandbox. */
  obedient: (facts) => {
    const shown = shownBy(facts);
    const { tools, isParallel, mustCall, isThinking, results, schema, isJson } = facts;
    const demand = { isParallel, isForced: mustCall };
    const demanded = results.length > 0 ? [] : demandedCalls(tools, shown, demand);
    const said =
      schema !== undefined || isJson
        ? JSON.stringify(exampleOf(schema ?? { type: 'object' }, facts.text))
        : obedientText(shown);
    const isDeep = isThinking && /\bthink\b|\bstep by step\b/i.test(facts.text);
    return {
      thoughts: isDeep ? thoughtOf(facts.rounds) : [],
      texts: said.match(/\s*\S+\s*$|\s*\S+/g) ?? [said],
      usage: { ...plainUsage, cacheRead: 0, thinking: isDeep ? plainUsage.thinking : 0 },
      calls: numbered(demanded, facts),
    };
  },
};

export const scenarioNames: readonly string[] = Object.keys(scenarios);

export function answerOf(name: string, facts: Facts, more: Partial<Answer> = {}): Answer {
  const given = { ...text, ...scenarios[name]?.(facts), ...more };
  // A model that has to call a tool does.
  const isForced = facts.mustCall && facts.results.length === 0 && given.calls.length === 0;
  const calls = facts.mayCall ? (isForced ? callsOf(facts, 1) : given.calls) : [];
  if (calls.length > 0) return { ...given, texts: [], calls, finish: 'calls' };
  return stopped(limited({ ...given, calls }, facts), facts);
}

function limited(answer: Answer, { maxTokens = 1_000 }: Facts): Answer {
  if (answer.texts.length <= maxTokens) return answer;
  return { ...answer, texts: answer.texts.slice(0, maxTokens), finish: 'length' };
}

function stopped(answer: Answer, { stop = [] }: Facts): Answer {
  const whole = answer.texts.join('');
  const found = stop.map((word) => ({ word, at: whole.indexOf(word) })).filter(({ at }) => at >= 0);
  const first = found.toSorted((one, other) => one.at - other.at)[0];
  if (first === undefined) return answer;
  const texts = whole.slice(0, first.at).match(/.{1,12}/gsu) ?? [];
  return { ...answer, texts, finish: 'stop-sequence', stopSequence: first.word };
}

/** What an obedient model is shown; results are no request of the user's. */
function shownBy({ rules, text: asked, earlier, begun, results }: Facts): Shown {
  const request = begun === undefined ? asked.trim() : 'Go on with the beginning of your answer.';
  return {
    rules,
    request: results.length > 0 ? '' : request,
    earlier: [...earlier, ...(begun === undefined ? [] : [asked, begun])].join('\n'),
    results: results.map((result) => result.text),
  };
}

/** A client may say more behind the order, in parts of their own. */
function orderedCalls(facts: Facts): Call[] {
  const names = facts.tools.map(({ name }) => name);
  const texts = [...facts.earlier, facts.text].map((text) => requestedCalls(text, names));
  const ordered = texts.findLast((calls) => calls.length > 0) ?? [];
  return numbered(facts.isParallel ? ordered : ordered.slice(0, 1), facts);
}

function numbered(
  calls: readonly { readonly name: string; readonly args: JsonObject }[],
  { rounds }: Facts,
): Call[] {
  return calls.map(({ name, args }, index) => ({
    id: `up_${rounds + 1}_${index + 1}`,
    name,
    pieces: JSON.stringify(args).match(/.{1,40}/gsu) ?? [],
  }));
}

function callsOf({ tools, rounds }: Facts, count: number): Call[] {
  return tools.slice(0, count).map(({ name }, index) => ({
    id: `up_${rounds + 1}_${index + 1}`,
    name,
    pieces: ['{"ci', 'ty":"', `Place ${rounds + index + 1}`, '"}'],
  }));
}

/** Each result with the call it answers, so that a swapped pair shows. */
function resultTexts({ results }: Facts): string[] {
  const said = results.map(({ name, args, text: result, images }) => {
    const shown = images > 0 ? ` and ${images} image` : '';
    return `${name}(${Object.values(args).join(', ')})=${result}${shown}`;
  });
  return ['Results: ', said.join('; ')];
}

/** A signature that the vendor can check by what it signs. */
export function signatureOf(vendor: string, signed: string): string {
  return createHash('sha256').update(`${vendor}\0${signed}`).digest('base64');
}
