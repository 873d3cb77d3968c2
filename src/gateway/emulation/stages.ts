import type { EmulatedAbility } from '../../core/capabilities.ts';
import { AppError } from '../../core/errors.ts';
import type { AskedRequest, TurnEvent, TurnRequest, Usage } from '../../core/turn.ts';
import { countTokens, firstTokens, tokenPieces } from './token-count.ts';

/** Something the client asked for that the upstream does not do: changes the events on their way. */
export interface Stage {
  /** A batch whose last event is a terminal one that the upstream did not send ends the answer there. */
  apply(events: readonly TurnEvent[]): readonly TurnEvent[];
  /** A call was left out: the upstream waits for more results than the client will ever send. */
  readonly hasDropped?: boolean;
}

/** The stages that one try of a request passes, in their order. Most requests need none. */
export function stagesOf(request: AskedRequest, emulated: ReadonlySet<EmulatedAbility>): readonly Stage[] {
  const { limits, reasoning } = request;
  const { maxOutputTokens, stopSequences } = limits;
  const isReasoningHidden = reasoning.effort === 'none';
  const stages: Stage[] = [];
  if (isReasoningHidden) stages.push(hiddenReasoning);
  if (emulated.has('toolChoice') || emulated.has('parallelToolCalls')) {
    const limit = createToolCallLimit(request);
    if (limit) stages.push(limit);
  }
  if (stopSequences && emulated.has('stop')) stages.push(createStopSequences(stopSequences));
  if (maxOutputTokens !== undefined && emulated.has('maxTokens')) {
    stages.push(createOutputLimit(maxOutputTokens, reasoning.isAsked === true && !isReasoningHidden));
  }
  return stages;
}

const hiddenReasoning: Stage = {
  apply: (events) => events.filter(({ type }) => type !== 'reasoning-delta'),
};

/**
 * Holds an answer to as many calls as the client takes: none, or one where it does not run calls side by side. The first
 * call is passed on and the others are left out: the model can make them again once it has seen the first one's result.
 * Where none is allowed, the batch ends with an error instead. Undefined where there is nothing to hold it to.
 */
export function createToolCallLimit({
  toolChoice,
  parallelToolCalls,
}: Pick<TurnRequest, 'toolChoice' | 'parallelToolCalls'>): Stage | undefined {
  if (toolChoice.type === 'none') return noCalls;
  return parallelToolCalls ? undefined : createFirstCallOnly();
}

const noCalls: Stage = {
  apply(events) {
    const at = events.findIndex(({ type }) => type === 'tool-call-start');
    if (at === -1) return events;
    const message = 'The model called a tool although tool_choice is "none"; try again.';
    // The model would do it on any account, and each try may be charged.
    const error = new AppError('upstream_protocol', message, { fault: 'model', failover: 'no' });
    return [...events.slice(0, at), { type: 'error', error }];
  },
};

function createFirstCallOnly(): Stage {
  let first: number | undefined;

  function isTooMany(event: TurnEvent): boolean {
    switch (event.type) {
      case 'tool-call-start':
        first ??= event.index;
        return event.index !== first;
      case 'tool-call-delta':
      case 'tool-call-end':
        return event.index !== first;
      default:
        return false;
    }
  }

  const stage = {
    hasDropped: false,
    apply(events: readonly TurnEvent[]): readonly TurnEvent[] {
      const kept = events.filter((event) => !isTooMany(event));
      if (kept.length === events.length) return events;
      stage.hasDropped = true;
      return kept;
    },
  };
  return stage;
}

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

type CountedType = 'text-delta' | 'reasoning-delta';

/** A run without any border is settled once it is longer than this: its count may then be off by a token. */
const longestTail = 400;

/**
 * Ends an answer with `finish: length` at a token limit an upstream has no field for, by counting what passes. A token has at least one byte, so
 * nothing is counted, and the tokenizer not even loaded, until the answer has more bytes than the limit has tokens.
 * At the limit a few letters may be held back: more text can still merge them into a token that fits.
 * Tool calls are left alone, and so is all that follows one: half a call, or one the client takes for cut off, is worse
 * than a long answer. Reasoning counts where the client asked for it; who
 * did not would otherwise get no answer at all from a model that thinks unasked.
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
