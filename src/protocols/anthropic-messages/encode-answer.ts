import type { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn } from '../../core/protocol.ts';
import type { Citation, FinishReason, Usage } from '../../core/turn.ts';
import { shownArguments } from '../shared/calls.ts';
import type { MessagesOptions } from './decode-request.ts';
import { signatureOf } from './signature.ts';

const stopReasons: Record<FinishReason, string> = {
  stop: 'end_turn',
  length: 'max_tokens',
  'tool-calls': 'tool_use',
  'content-filter': 'refusal',
};

/** How an answer ended. `refusal`: what the model said instead of one, which the dialect has no other place for than its text. */
export function endOf(
  { reason, stopSequence = null }: { readonly reason: FinishReason; readonly stopSequence?: string | null },
  refusal: string,
) {
  const isRefusal = refusal !== '' || reason === 'content-filter';
  const otherwise = stopSequence === null ? stopReasons[reason] : 'stop_sequence';
  return {
    stop_reason: isRefusal ? 'refusal' : otherwise,
    stop_sequence: stopSequence,
    // No upstream tells the category.
    stop_details: isRefusal ? { type: 'refusal', category: null, explanation: refusal || null } : null,
    container: null,
  };
}

/** As a search on the web would tell it. Only the provider could fill in the index. */
export function encodeCitation({ url, title }: Citation): object {
  const type = 'web_search_result_location';
  return { type, url, title: title ?? null, cited_text: '', encrypted_index: '' };
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
  if (answer.relayed !== undefined) return answer.relayed;
  const thought = options.showsThinking ? answer.reasoning : '';
  const thinking =
    thought !== '' || (options.signsThinking && answer.reasoningProof)
      ? [
          {
            type: 'thinking',
            thinking: thought,
            signature: signatureOf(identity, answer.reasoningProof),
          },
        ]
      : [];
  const { refusal = '', citations = [], finishReason: reason, stopSequence = null } = answer;
  const said = answer.text + refusal;
  const cited = citations.length === 0 ? {} : { citations: citations.map(encodeCitation) };
  const text = said === '' ? [] : [{ type: 'text', text: said, ...cited }];
  const calls = answer.toolCalls.map((call) => ({
    type: 'tool_use',
    id: call.id,
    name: call.name,
    input: shownArguments(call.arguments),
  }));
  return JSON.stringify({
    id: identity.id,
    type: 'message',
    role: 'assistant',
    model: identity.model,
    content: [...thinking, ...text, ...calls],
    ...endOf({ reason, stopSequence }, refusal),
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
