import type { TurnEvent } from '../../core/turn.ts';
import type { Stage } from './stages.ts';

/**
 * Ends an answer before the first of `sequences` with `finish: stop`, for an upstream that has no field for them. The end of a text that
 * may yet become a sequence is held back until more text, another kind of content or the end decides it. Reasoning, the
 * arguments of tool calls and what follows a call are not searched: an answer with a call ends as one.
 */
export function createStopSequences(sequences: readonly string[]): Stage {
  const longest = Math.max(...sequences.map((sequence) => sequence.length));
  let held = '';
  let hasCall = false;

  /** What of the text so far can be shown, and the sequence it ends at. */
  function take(text: string): { readonly shown: string; readonly met: string | undefined } {
    const searched = held + text;
    const first = firstOf(sequences, searched);
    if (first) {
      held = '';
      return { shown: searched.slice(0, first.at), met: first.sequence };
    }
    const keep = possibleStart(searched);
    held = searched.slice(searched.length - keep);
    return { shown: searched.slice(0, searched.length - keep), met: undefined };
  }

  /** How many of the last characters may begin a sequence. */
  function possibleStart(text: string): number {
    for (let length = Math.min(longest - 1, text.length); length > 0; length -= 1) {
      const end = text.slice(text.length - length);
      if (sequences.some((sequence) => sequence.length > length && sequence.startsWith(end))) return length;
    }
    return 0;
  }

  return {
    apply(events) {
      if (hasCall) return events;
      const passed: TurnEvent[] = [];
      for (const [index, event] of events.entries()) {
        if (event.type === 'text-delta') {
          const { shown, met } = take(event.text);
          if (shown !== '') passed.push({ type: 'text-delta', text: shown });
          if (met === undefined) continue;
          const usage = events.find((later) => later.type === 'usage');
          return [
            ...passed,
            ...(usage && !passed.includes(usage) ? [usage] : []),
            { type: 'finish', reason: 'stop', stopSequence: met },
          ];
        }
        // Neither is shown as text, so a sequence may go on behind it.
        if (held !== '' && event.type !== 'usage' && event.type !== 'citation') {
          passed.push({ type: 'text-delta', text: held });
          held = '';
        }
        if (event.type === 'tool-call-start') {
          hasCall = true;
          return [...passed, ...events.slice(index)];
        }
        passed.push(event);
      }
      return passed;
    },
  };
}

/** The sequence that is complete first, as a reader of single characters would see it; of two, the longer. */
function firstOf(
  sequences: readonly string[],
  text: string,
): { readonly at: number; readonly sequence: string } | undefined {
  let best: { readonly at: number; readonly sequence: string } | undefined;
  for (const sequence of sequences) {
    const at = text.indexOf(sequence);
    if (at < 0) continue;
    const end = at + sequence.length;
    const bestEnd = best === undefined ? Number.POSITIVE_INFINITY : best.at + best.sequence.length;
    if (end < bestEnd || (end === bestEnd && best !== undefined && at < best.at)) best = { at, sequence };
  }
  return best;
}
