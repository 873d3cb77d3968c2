import type { Citation, Usage } from '../../core/turn.ts';
import { isJsonObject, type JsonObject } from '../../lib/parse-json.ts';

/** What an upstream sent is read leniently: a value of another kind than expected counts as absent. */
export function textIn(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function objectsIn(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

/** A whole number that is not negative, of an object's member. */
export function countIn(value: unknown, name: string): number | undefined {
  const count = isJsonObject(value) ? value[name] : undefined;
  return typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? count : undefined;
}

/** The figures of an answer of Chat Completions, and of what has the same form; undefined where there are none that can be read. */
export function readUsage(value: unknown): Usage | undefined {
  const usage = figuresIn(value, chatFigures);
  // Most chunks of a stream have none.
  if (usage === undefined || !isJsonObject(value)) return undefined;
  // DeepSeek's place for what its cache had, and OpenRouter's for what it cost in US dollars.
  const { cost } = value;
  const cached = usage.cachedInputTokens ?? countIn(value, 'prompt_cache_hit_tokens');
  return {
    ...usage,
    ...(cached !== undefined && { cachedInputTokens: cached }),
    ...(typeof cost === 'number' && cost >= 0 && { costCents: cost * 100 }),
  };
}

/** The figures of a response; undefined where there are none that can be read. */
export function readResponsesUsage(value: unknown): Usage | undefined {
  return figuresIn(value, responsesFigures);
}

const chatFigures = figuresNamed('prompt', 'completion');
const responsesFigures = figuresNamed('input', 'output');

function figuresNamed(input: string, output: string) {
  return {
    input: `${input}_tokens`,
    output: `${output}_tokens`,
    inputDetails: `${input}_tokens_details`,
    outputDetails: `${output}_tokens_details`,
  };
}

function figuresIn(value: unknown, names: ReturnType<typeof figuresNamed>): Usage | undefined {
  const inputTokens = countIn(value, names.input);
  if (inputTokens === undefined || !isJsonObject(value)) return undefined;
  const cached = countIn(value[names.inputDetails], 'cached_tokens');
  const written = countIn(value[names.inputDetails], 'cache_write_tokens');
  const reasoning = countIn(value[names.outputDetails], 'reasoning_tokens');
  return {
    inputTokens,
    outputTokens: countIn(value, names.output) ?? 0,
    ...(cached !== undefined && { cachedInputTokens: cached }),
    ...(written !== undefined && { cacheWriteTokens: written }),
    ...(reasoning !== undefined && { reasoningTokens: reasoning }),
  };
}

/** A page that an answer cites; undefined without an address. `start`: where the text begins that the positions count in. */
export function citationIn(value: unknown, start = 0): Citation | undefined {
  if (!isJsonObject(value)) return undefined;
  const { url, title, start_index: from, end_index: to } = value;
  if (typeof url !== 'string' || url === '') return undefined;
  return {
    url,
    ...(typeof title === 'string' && { title }),
    ...(typeof from === 'number' && { start: start + from }),
    ...(typeof to === 'number' && { end: start + to }),
  };
}
