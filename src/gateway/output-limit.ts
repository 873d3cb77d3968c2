import type { TurnEvent } from '../core/turn.ts';
import { countTokens, firstTokens, tokenPieces } from './token-count.ts';

export interface OutputLimit {
  /** The events that still fit; when the limit is met the batch ends with `finish: length`. */
  apply(events: readonly TurnEvent[]): readonly TurnEvent[];
}

/** A run without any border is settled once it is longer than this: its count may then be off by a token. */
const longestTail = 400;

/**
 * Enforces a token limit an upstream has no field for, by counting what passes. A token has at least one byte, so
 * nothing is counted, and the tokenizer not even loaded, until the answer has more bytes than the limit has tokens.
 * At the limit a few letters may be held back: more text can still merge them into a token that fits.
 * Tool calls and reasoning are left alone: half a call is worse than a long one.
 */
export function createOutputLimit(maxTokens: number): OutputLimit {
  /** Tokens of the text before the tail, which no later text can change. */
  let settledTokens = 0;
  let tail = '';
  let tailBytes = 0;
  /** Characters of the tail that were let through. */
  let shown = 0;
  let isMet = false;

  /** What may be shown of everything that came so far and was not shown yet. */
  function take(text: string): string {
    tail += text;
    tailBytes += Buffer.byteLength(text);
    if (settledTokens + tailBytes <= maxTokens) {
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

  return {
    apply(events) {
      let changed: TurnEvent[] | undefined;
      for (const [index, event] of events.entries()) {
        if (event.type === 'text-delta') {
          const text = take(event.text);
          if (!changed && !isMet && text.length === event.text.length && shown === tail.length) continue;
          changed ??= events.slice(0, index);
          if (text !== '') changed.push({ type: 'text-delta', text });
        } else if (shown < tail.length) {
          // The text ended with more than fits.
          changed ??= events.slice(0, index);
          isMet = true;
        } else changed?.push(event);
        if (isMet) {
          const usage = events.find((later) => later.type === 'usage');
          return [...(changed ?? []), ...(usage ? [usage] : []), { type: 'finish', reason: 'length' }];
        }
      }
      return changed ?? events;
    },
  };
}
