import type { AnswerIdentity, CollectedTurn } from '../../core/protocol.ts';
import type { Citation, FinishReason, Usage } from '../../core/turn.ts';
import { customInput } from '../shared/tools.ts';
import type { ChatOptions } from './decode-request.ts';
import { carriedDetails } from './reasoning-details.ts';

export const finishReasons: Record<FinishReason, string> = {
  stop: 'stop',
  length: 'length',
  'tool-calls': 'tool_calls',
  'content-filter': 'content_filter',
};

export function encodeChatAnswer(
  identity: AnswerIdentity,
  answer: CollectedTurn,
  options: ChatOptions,
): string {
  return answer.relayed ?? encodeChatChoices(identity, [answer], options, answer.usage);
}

/** Several answers to one request; `usage` is that of all. */
export function encodeChatChoices(
  identity: AnswerIdentity,
  answers: readonly CollectedTurn[],
  options: ChatOptions,
  usage: Usage | undefined,
): string {
  return JSON.stringify({
    id: identity.id,
    object: 'chat.completion',
    created: identity.created,
    model: identity.model,
    choices: answers.map((answer, index) => encodeChoice(answer, index, options)),
    ...(usage ? { usage: encodeUsage(usage) } : {}),
    ...(identity.systemFingerprint === undefined ? {} : { system_fingerprint: identity.systemFingerprint }),
    ...answers.find(({ metadata }) => metadata)?.metadata?.['openai'],
  });
}

function encodeChoice(answer: CollectedTurn, index: number, options: ChatOptions) {
  const hasCalls = answer.toolCalls.length > 0;
  const { refusal = null, citations = [] } = answer;
  return {
    index,
    message: {
      role: 'assistant',
      content: (hasCalls || refusal !== null) && answer.text === '' ? null : answer.text,
      refusal,
      annotations: citations.map(encodeCitation),
      ...(answer.reasoning === '' ? {} : { reasoning_content: answer.reasoning }),
      ...(answer.reasoningProof && { reasoning_details: carriedDetails(answer.reasoningProof) }),
      ...(hasCalls ? { tool_calls: answer.toolCalls.map((call) => encodeCall(call, options)) } : {}),
    },
    logprobs: null,
    finish_reason: finishReasons[answer.finishReason],
  };
}

function encodeCall({ id, name, arguments: text }: CollectedTurn['toolCalls'][number], options: ChatOptions) {
  return options.customTools.has(name)
    ? { id, type: 'custom', custom: { name, input: customInput(text) } }
    : { id, type: 'function', function: { name, arguments: text } };
}

export function encodeCitation({ url, title = url, start = 0, end = 0 }: Citation): object {
  return { type: 'url_citation', url_citation: { url, title, start_index: start, end_index: end } };
}

export function encodeUsage(usage: Usage) {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
    prompt_tokens_details: {
      cached_tokens: usage.cachedInputTokens ?? 0,
      ...(usage.cacheWriteTokens === undefined ? {} : { cache_write_tokens: usage.cacheWriteTokens }),
      audio_tokens: 0,
    },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0, audio_tokens: 0 },
  };
}
