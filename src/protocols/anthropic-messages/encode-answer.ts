import type { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn } from '../../core/protocol.ts';
import type { FinishReason, Usage } from '../../core/turn.ts';
import { parseJson } from '../../lib/parse-json.ts';
import type { MessagesOptions } from './decode-request.ts';
import { signatureOf } from './signature.ts';

const stopReasons: Record<FinishReason, string> = {
  stop: 'end_turn',
  length: 'max_tokens',
  'tool-calls': 'tool_use',
  'content-filter': 'refusal',
};

export function stopReasonOf(reason: FinishReason, stopSequence: string | undefined): string {
  return stopSequence === undefined ? stopReasons[reason] : 'stop_sequence';
}

/** What clients read of a refusal; nobody tells its category. */
export function stopDetailsOf(reason: FinishReason): object | null {
  return reason === 'content-filter' ? { type: 'refusal', category: null, explanation: null } : null;
}

export function encodeMessagesError(error: AppError, requestId?: string): string {
  return JSON.stringify({
    type: 'error',
    error: {
      type: error.anthropicType,
      message: error.message,
      ...(error.details === undefined ? {} : { details: error.details }),
    },
    ...(requestId === undefined ? {} : { request_id: requestId }),
  });
}

export function encodeMessagesAnswer(
  identity: AnswerIdentity,
  answer: CollectedTurn,
  options: MessagesOptions,
): string {
  const thinking =
    options.showsThinking && answer.reasoning !== ''
      ? [
          {
            type: 'thinking',
            thinking: answer.reasoning,
            signature: signatureOf(identity, answer.reasoningProof),
          },
        ]
      : [];
  const text = answer.text === '' ? [] : [{ type: 'text', text: answer.text }];
  const calls = answer.toolCalls.map((call) => ({
    type: 'tool_use',
    id: call.id,
    name: call.name,
    input: inputOf(call.arguments),
  }));
  return JSON.stringify({
    id: identity.id,
    type: 'message',
    role: 'assistant',
    model: identity.model,
    content: [...thinking, ...text, ...calls],
    stop_reason: stopReasonOf(answer.finishReason, answer.stopSequence),
    stop_sequence: answer.stopSequence ?? null,
    stop_details: stopDetailsOf(answer.finishReason),
    container: null,
    usage: encodeUsage(answer.usage),
  });
}

export function encodeUsage(usage: Usage | undefined) {
  const cached = usage?.cachedInputTokens ?? 0;
  const written = usage?.cacheWriteTokens ?? 0;
  return {
    // Tokens read from a cache and written to one are counted apart in this dialect.
    input_tokens: Math.max(0, (usage?.inputTokens ?? 0) - cached - written),
    cache_creation_input_tokens: written,
    cache_read_input_tokens: cached,
    output_tokens: usage?.outputTokens ?? 0,
    ...(usage?.reasoningTokens === undefined
      ? {}
      : { output_tokens_details: { thinking_tokens: usage.reasoningTokens } }),
    server_tool_use: null,
  };
}

/** The model's text should be a JSON object; what is not reaches the client as it came, where it can be seen. */
function inputOf(text: string): unknown {
  if (text.trim() === '') return {};
  const value = parseJson(text);
  if (value === undefined) return { invalid_json: text };
  return typeof value === 'object' && value !== null ? value : { value };
}
