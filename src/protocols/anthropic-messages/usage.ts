import type { FinishReason, Usage } from '../../core/turn.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { countIn } from '../shared/json-values.ts';

/** The figures of an answer. Those of a stream come in two events, the later of which counts; undefined where there are none. */
export function readUsage(first: unknown, later?: unknown): Usage | undefined {
  const figure = (name: string) => countIn(later, name) ?? countIn(first, name);
  const input = figure('input_tokens');
  if (input === undefined) return undefined;
  const read = figure('cache_read_input_tokens');
  const written = figure('cache_creation_input_tokens');
  const thinking = thinkingIn(later) ?? thinkingIn(first);
  return {
    // Tokens read from the cache and written to it are counted separately in this dialect.
    inputTokens: input + (read ?? 0) + (written ?? 0),
    outputTokens: figure('output_tokens') ?? 0,
    ...(read !== undefined && { cachedInputTokens: read }),
    ...(written !== undefined && { cacheWriteTokens: written }),
    ...(thinking !== undefined && { reasoningTokens: thinking }),
  };
}

function thinkingIn(usage: unknown): number | undefined {
  return isJsonObject(usage) ? countIn(usage['output_tokens_details'], 'thinking_tokens') : undefined;
}

const finishReasons: Readonly<Record<string, FinishReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  // To continue, the client sends the answer back.
  pause_turn: 'length',
  tool_use: 'tool-calls',
  refusal: 'content-filter',
};

/** Undefined where none is given. */
export function finishOf(stopReason: unknown): FinishReason | undefined {
  if (typeof stopReason !== 'string' || stopReason === '') return undefined;
  return finishReasons[stopReason] ?? 'stop';
}
