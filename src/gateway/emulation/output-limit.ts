import type { TurnEvent, Usage } from '../../core/turn.ts';
import type { Stage } from './stages.ts';
import { countTokens, firstTokens, tokenPieces } from './token-count.ts';

type CountedType = 'text-delta' | 'reasoning-delta';

/** A run without any border is settled once it is longer than this: its count may then be off by a token. */
const longestTail = 400;

/**
 * Ends an answer with `finish: length` at a token limit an upstream has no field for, by counting what passes. A token has at least one byte, so
 * nothing is counted, and the tokenizer not even loaded, until the answer has more bytes than the limit has tokens.
 * At the limit a few letters may be held back: more text can still merge them into a token that fits.
 * Tool calls are left alone, and so is all that follows one: half a call, or one the client takes for cut off, is worse
 * than a long answer. Reasoning counts where the client asked for it; who
 * did not would otherwise get no answer at all from a model that thinks by itself.
 */
export function createOutputLimit(maxTokens: number, countsReasoning = false): Stage {
  /** Tokens of the text before the tail, which no later text can change. */
  let settledTokens = 0;
  let tail = '';
  let tailBytes = 0;
  /** Characters of the tail that were let through. */
  let shown = 0;
  let isMet = false;
  let hasCall = false;
  let kind: CountedType = 'text-delta';
  /** Texts before the tail that came out whole and are not among the settled tokens yet. */
  let uncounted: string[] = [];
  let uncountedBytes = 0;

  /** What may be shown of everything that came so far and was not shown yet. */
  function take(text: string): string {
    tail += text;
    tailBytes += Buffer.byteLength(text);
    if (settledTokens + uncountedBytes + tailBytes <= maxTokens) {
      shown = tail.length;
      return text;
    }
    const from = shown;
    const { settled, fits } = measure();
    shown = Math.max(from, fits);
    const result = tail.slice(from, shown);
    tail = tail.slice(settled);
    tailBytes = Buffer.byteLength(tail);
    shown -= settled;
    return result;
  }

  /** Counts what is settled now. Answers the characters of the tail it took and the characters that fit. */
  function measure(): { settled: number; fits: number } {
    for (const text of uncounted) settledTokens += countTokens(text);
    uncounted = [];
    uncountedBytes = 0;
    const pieces = tokenPieces(tail);
    let settled = 0;
    for (const piece of pieces.slice(0, -2)) {
      const tokens = countTokens(piece);
      if (settledTokens + tokens > maxTokens) {
        isMet = true;
        return { settled, fits: settled + firstTokens(piece, maxTokens - settledTokens).length };
      }
      settledTokens += tokens;
      settled += piece.length;
    }
    const rest = tail.slice(settled);
    const tokens = countTokens(rest);
    if (settledTokens + tokens <= maxTokens) {
      if (rest.length <= longestTail) return { settled, fits: tail.length };
      settledTokens += tokens;
      return { settled: tail.length, fits: tail.length };
    }
    // Whatever comes, the rest will be one token at least.
    isMet = settledTokens === maxTokens || rest.length > longestTail;
    return { settled, fits: settled + firstTokens(rest, maxTokens - settledTokens).length };
  }

  /** Between reasoning and text no token is shared. False when what was held back does not fit. */
  function turnTo(next: CountedType): boolean {
    if (next === kind) return true;
    if (shown < tail.length) return false;
    kind = next;
    // Counted when the limit comes near: the tokenizer may never be needed.
    if (tail !== '') uncounted.push(tail);
    uncountedBytes += tailBytes;
    tail = '';
    tailBytes = 0;
    shown = 0;
    return true;
  }

  return {
    apply(events) {
      if (hasCall) return events;
      let changed: TurnEvent[] | undefined;
      for (const [index, event] of events.entries()) {
        const isCounted =
          event.type === 'text-delta' || (countsReasoning && event.type === 'reasoning-delta');
        if (isCounted && turnTo(event.type)) {
          const text = take(event.text);
          if (!changed && !isMet && text.length === event.text.length && shown === tail.length) continue;
          changed ??= events.slice(0, index);
          if (text !== '') changed.push({ type: event.type, text });
        } else if (shown < tail.length) {
          // The text ended with more than fits.
          changed ??= events.slice(0, index);
          isMet = true;
        } else changed?.push(event);
        if (event.type === 'tool-call-start' && !isMet) {
          hasCall = true;
          return changed ? [...changed, ...events.slice(index + 1)] : events;
        }
        if (isMet) {
          const told = events.find((later) => later.type === 'usage');
          const usage = told ? [{ type: 'usage' as const, usage: upTo(maxTokens, told.usage) }] : [];
          return [...(changed ?? []), ...usage, { type: 'finish', reason: 'length' }];
        }
      }
      return changed ?? events;
    },
  };
}

/** An upstream that was done already tells of all it wrote, and not of what was passed on. */
function upTo(maxTokens: number, usage: Usage): Usage {
  if (usage.outputTokens <= maxTokens) return usage;
  const { reasoningTokens } = usage;
  return {
    ...usage,
    outputTokens: maxTokens,
    ...(reasoningTokens === undefined ? {} : { reasoningTokens: Math.min(reasoningTokens, maxTokens) }),
    isEstimated: true,
  };
}
