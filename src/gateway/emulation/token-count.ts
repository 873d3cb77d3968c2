import { createRequire } from 'node:module';
import type { CollectedTurn } from '../../core/protocol.ts';
import { type AskedRequest, type TurnEnd, toolsText, type Usage } from '../../core/turn.ts';
import { estimateInput } from '../../protocols/shared/request.ts';

interface Tokenizer {
  readonly encoding: typeof import('gpt-tokenizer/encoding/o200k_base');
  /** The bytes of each token, as text where they are whole characters. */
  readonly ranks: readonly (string | readonly number[])[];
  /** Splits a text into the pieces of which each is tokenized by itself. */
  readonly pieces: RegExp;
}

// Its tables cost some 70 MB and a fifth of a second, so they are loaded when first needed and not at start.
let loaded: Tokenizer | undefined;
function tokenizer(): Tokenizer {
  loaded ??= load();
  return loaded;
}

function load(): Tokenizer {
  const require = createRequire(import.meta.url);
  const encoding = require('gpt-tokenizer/encoding/o200k_base') as Tokenizer['encoding'];
  // Its cache keeps parts of texts, and with a part V8 keeps the whole text: a hundred thousand requests' worth.
  encoding.setMergeCacheSize(0);
  const { default: ranks } = require('gpt-tokenizer/bpeRanks/o200k_base') as { default: Tokenizer['ranks'] };
  const constants =
    require('gpt-tokenizer/encodingParams/constants') as typeof import('gpt-tokenizer/encodingParams/constants');
  return { encoding, ranks, pieces: constants.O200K_TOKEN_SPLIT_REGEX };
}

/** Text that looks like a tokenizer's own marks is text like any other. */
const plainText = { disallowedSpecial: new Set<string>() };

/** Longer texts are counted by a sample: the count is an estimate anyway, and the event loop is shared. */
const exactUpTo = 100_000;

/** The tokenizer's time grows with the square of a piece's length, so longer ones are counted part by part. */
const longestPiece = 64;
const longRuns = new RegExp(
  ['[\\p{L}\\p{M}]', '\\s', '[^\\s\\p{L}\\p{N}]', '[\\r\\n/]']
    .map((set) => `${set}{${longestPiece},}`)
    .join('|'),
  'gu',
);

/** Tokens of a text by the o200k_base encoding, whatever the model really uses. */
export function countTokens(text: string): number {
  if (text.length > exactUpTo) return sampled(text, text.length);
  let count = 0;
  for (const part of partsOf(text)) count += tokenizer().encoding.countTokens(part, plainText);
  return count;
}

function sampled(text: string, length: number): number {
  return Math.ceil((countTokens(text.slice(0, exactUpTo)) / exactUpTo) * length);
}

/** The first `count` tokens of a text, without the broken rest of a character a cut may leave. */
export function firstTokens(text: string, count: number): string {
  const { encoding, ranks } = tokenizer();
  let left = count;
  let byteCount = 0;
  for (const part of partsOf(text)) {
    for (const token of encoding.encode(part, plainText)) {
      if (left <= 0) return firstBytes(text, byteCount);
      left -= 1;
      const bytes = ranks[token] ?? '';
      byteCount += typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length;
    }
  }
  return text;
}

/** The pieces of a text that are tokenized each by itself. What follows a text can change its last two, no others. */
export function tokenPieces(text: string): string[] {
  return text.match(tokenizer().pieces) ?? [];
}

/** Tokens of all that a request says, tools included; images are not counted. */
export function countInputTokens(request: AskedRequest): number {
  const texts = inputTexts(request);
  const length = texts.reduce((sum, text) => sum + text.length + 1, 0);
  if (length <= exactUpTo) return countTokens(texts.join('\n'));
  // No more of them is joined than is looked at.
  let sample = '';
  for (const text of texts) {
    sample += `${text.slice(0, exactUpTo - sample.length)}\n`;
    if (sample.length >= exactUpTo) break;
  }
  return sampled(sample, length);
}

type Produced = Pick<CollectedTurn, 'text' | 'refusal' | 'reasoning' | 'toolCalls'>;

/** Figures for an upstream that gave none: all that was asked and all that was produced, without images. */
export function estimateUsage(
  request: AskedRequest,
  { text, refusal = '', reasoning, toolCalls }: Produced,
): Usage {
  const shown = [text + refusal, ...toolCalls.map((call) => `${call.name} ${call.arguments}`)].join('\n');
  const reasoningTokens = reasoning === '' ? 0 : countTokens(reasoning);
  return {
    inputTokens: countInputTokens(request),
    outputTokens: countTokens(shown) + reasoningTokens,
    ...(reasoningTokens > 0 ? { reasoningTokens } : {}),
    isEstimated: true,
  };
}

/** Images make a body large, and cost less than their bytes would as text. */
const mostRoughInput = 200_000;

/** Four characters a token, no tokenizer. `relayed`: the request as it is passed on, of which little else was read. */
export function roughInput(request: AskedRequest, relayed: { readonly body: string } | undefined): number {
  return Math.min(mostRoughInput, relayed ? Math.ceil(relayed.body.length / 4) : estimateInput(request));
}

function inputTexts(request: AskedRequest): string[] {
  const texts = request.tools.length === 0 ? [] : [toolsText(request)];
  for (const message of request.messages) {
    for (const part of message.parts) {
      if (part.type === 'tool-call') texts.push(`${part.name} ${part.arguments}`);
      else if ('text' in part) texts.push(part.text);
    }
  }
  return texts;
}

function partsOf(text: string): string[] {
  if (text.length <= longestPiece) return [text];
  const parts: string[] = [];
  let start = 0;
  for (const run of text.matchAll(longRuns)) {
    const end = run.index + run[0].length;
    for (let cut = run.index + longestPiece; cut < end; cut += longestPiece) {
      if (isLowSurrogate(text, cut)) cut += 1;
      parts.push(text.slice(start, cut));
      start = cut;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

/** As many whole characters as `byteCount` bytes of UTF-8 hold. */
function firstBytes(text: string, byteCount: number): string {
  let left = byteCount;
  let end = 0;
  while (end < text.length) {
    const code = text.codePointAt(end) ?? 0;
    left -= code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (left < 0) break;
    end += code < 0x10000 ? 1 : 2;
  }
  return text.slice(0, end);
}

function isLowSurrogate(text: string, index: number): boolean {
  const code = text.charCodeAt(index);
  return code >= 0xdc00 && code <= 0xdfff;
}

/** An upstream may report what it charged and no tokens; no turn takes zero of both. */
export function hasTokens(usage: Usage | undefined): usage is Usage {
  return usage !== undefined && (usage.inputTokens > 0 || usage.outputTokens > 0);
}

/** For the client: the upstream's figures, or tokens counted here with what the upstream said of its charge. */
export function shownUsage(reported: Usage | undefined, request: AskedRequest, answer: Produced): Usage {
  return hasTokens(reported) ? reported : withChargeOf(reported, estimateUsage(request, answer));
}

/** What an attempt has brought of its answer. */
interface Brought {
  readonly usage: Usage | undefined;
  /** Of what the model wrote, and about the same of what was passed on as it came. */
  readonly characters: number;
  readonly passedCharacters: number;
  /** Undefined: it broke off. */
  readonly end: TurnEnd | undefined;
}

/**
 * For limits, the pool and the log: the upstream's figures, or rough ones for an answer that it could not end. What it has said of
 * the output of such an answer is what that was at its beginning. `wasWorking`: the upstream was at work on it when the client
 * left, whether or not anything had come.
 */
export function countedUsage(
  answer: Brought,
  asked: { readonly request: AskedRequest; readonly relayed: { readonly body: string } | undefined },
  wasWorking: boolean,
): Usage | undefined {
  const { usage, end } = answer;
  if (end && hasTokens(usage)) return usage;
  const outputTokens = Math.ceil((answer.characters + answer.passedCharacters) / 4);
  if (outputTokens === 0 && !wasWorking) return usage;
  if (!hasTokens(usage))
    return withChargeOf(usage, {
      inputTokens: roughInput(asked.request, asked.relayed),
      outputTokens,
      isEstimated: true,
    });
  return usage.outputTokens >= outputTokens ? usage : { ...usage, outputTokens, isEstimated: true };
}

function withChargeOf(reported: Usage | undefined, counted: Usage): Usage {
  const { credits, costCents } = reported ?? {};
  return {
    ...counted,
    ...(credits === undefined ? {} : { credits }),
    ...(costCents === undefined ? {} : { costCents }),
  };
}

const optionalFigures = [
  'cachedInputTokens',
  'reasoningTokens',
  'cacheWriteTokens',
  'credits',
  'costCents',
] as const;

/** What several upstream turns took that are one to the client. */
export function sumUsage(one: Usage | undefined, other: Usage | undefined): Usage | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  const sum: { -readonly [Name in keyof Usage]: Usage[Name] } = {
    inputTokens: one.inputTokens + other.inputTokens,
    outputTokens: one.outputTokens + other.outputTokens,
  };
  for (const name of optionalFigures) {
    if (one[name] !== undefined || other[name] !== undefined)
      sum[name] = (one[name] ?? 0) + (other[name] ?? 0);
  }
  if (one.isEstimated || other.isEstimated) sum.isEstimated = true;
  return sum;
}
