import type { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn } from '../../core/protocol.ts';
import type { Citation, FinishReason, ToolCall, Usage } from '../../core/turn.ts';
import { parseJson } from '../../lib/parse-json.ts';
import { argumentsObject } from '../shared/calls.ts';
import type { GeminiOptions } from './decode-request.ts';
import { signatureOf } from './signature.ts';
import { signatureOfCall } from './thought-signatures.ts';

/** A part of an answer. */
export interface SaidPart {
  readonly text?: string;
  readonly thought?: true;
  readonly functionCall?: object;
  readonly thoughtSignature?: string;
}

const finishReasons: Record<FinishReason, string> = {
  stop: 'STOP',
  length: 'MAX_TOKENS',
  'tool-calls': 'STOP',
  'content-filter': 'SAFETY',
};

/** The dialect has no other word for a refusal, and its text would pass for an answer. */
export function finishReasonOf(reason: FinishReason, refusal: string): string {
  return finishReasons[refusal === '' ? reason : 'content-filter'];
}

const details = 'type.googleapis.com/google.rpc';

export function encodeGeminiError(error: AppError): string {
  const { message, param, retryAfterSeconds } = error;
  const known = [
    ...(param === undefined
      ? []
      : [{ '@type': `${details}.BadRequest`, fieldViolations: [{ field: param, description: message }] }]),
    ...(retryAfterSeconds === undefined
      ? []
      : [{ '@type': `${details}.RetryInfo`, retryDelay: `${retryAfterSeconds}s` }]),
  ];
  const { googleStatus: code, googleWord: status } = error;
  return JSON.stringify({ error: { code, message, status, ...(known.length > 0 && { details: known }) } });
}

export function encodeGeminiAnswer(
  identity: AnswerIdentity,
  answer: CollectedTurn,
  options: GeminiOptions,
): string {
  if (answer.relayed !== undefined) return answer.relayed;
  if (answer.finishReason === 'content-filter' && partsOf(answer, options).length === 0) {
    return JSON.stringify({ ...blockedPrompt, ...tailOf(identity, answer.usage) });
  }
  return encodeGeminiAnswers(identity, [answer], options, answer.usage);
}

/** A filter that let nothing through, as Google reports it: without a candidate. */
export const blockedPrompt = { promptFeedback: { blockReason: 'SAFETY' } } as const;

/** Several answers to one request; `usage` is that of all. */
export function encodeGeminiAnswers(
  identity: AnswerIdentity,
  answers: readonly CollectedTurn[],
  options: GeminiOptions,
  usage: Usage | undefined,
): string {
  const candidates = answers.map((answer, index) => ({
    content: { parts: partsOf(answer, options), role: 'model' },
    finishReason: finishReasonOf(answer.finishReason, answer.refusal ?? ''),
    index,
    ...groundingOf(answer.citations ?? []),
  }));
  return JSON.stringify({ candidates, ...tailOf(identity, usage) });
}

function partsOf(
  { text, reasoning, reasoningProof: proof, toolCalls, refusal = '', finishReason }: CollectedTurn,
  { showsThoughts }: GeminiOptions,
): SaidPart[] {
  const said = text + refusal;
  const parts: SaidPart[] = [
    ...(said === '' ? [] : [{ text: said }]),
    ...wholeCalls(toolCalls, finishReason).map((call) => {
      const thoughtSignature = proof && signatureOfCall(proof, call.id);
      return {
        functionCall: functionCallOf(call),
        ...(thoughtSignature !== undefined && { thoughtSignature }),
      };
    }),
  ];
  const thoughts: SaidPart[] = showsThoughts && reasoning !== '' ? [{ text: reasoning, thought: true }] : [];
  if (!proof || parts.some(({ thoughtSignature }) => thoughtSignature !== undefined))
    return [...thoughts, ...parts];
  // One of Google's of which no more is known belongs to the first call, where there is one.
  const place =
    proof.protocol === 'gemini'
      ? Math.max(
          parts.findIndex((part) => part.functionCall),
          0,
        )
      : 0;
  const signed = { ...(parts[place] ?? { text: '' }), thoughtSignature: signatureOf(reasoning, proof) };
  return [...thoughts, ...parts.slice(0, place), signed, ...parts.slice(place + 1)];
}

/** Calls have no other form than the whole one: what a limit cut is not to be run. */
export function wholeCalls<Call extends ToolCall>(
  calls: readonly Call[],
  reason: FinishReason,
): readonly Call[] {
  return reason === 'length' ? calls.filter((call) => parseJson(call.arguments) !== undefined) : calls;
}

export function functionCallOf({ id, name, arguments: text }: ToolCall): object {
  return { id, name, args: argumentsObject(text) };
}

/** What the text was found by. */
export function groundingOf(citations: readonly Citation[]): object {
  if (citations.length === 0) return {};
  const chunks = citations.map(({ url: uri, title = uri }) => ({ web: { uri, title } }));
  return { groundingMetadata: { groundingChunks: chunks } };
}

/** What every response ends with. */
export function tailOf({ id, model }: AnswerIdentity, usage: Usage | undefined) {
  return {
    ...(usage && { usageMetadata: encodeUsage(usage) }),
    modelVersion: model,
    responseId: id,
  };
}

function encodeUsage({ inputTokens, outputTokens, cachedInputTokens, reasoningTokens = 0 }: Usage) {
  return {
    promptTokenCount: inputTokens,
    // Those of the thoughts are counted apart in this dialect.
    candidatesTokenCount: Math.max(0, outputTokens - reasoningTokens),
    totalTokenCount: inputTokens + outputTokens,
    ...(cachedInputTokens ? { cachedContentTokenCount: cachedInputTokens } : {}),
    ...(reasoningTokens > 0 ? { thoughtsTokenCount: reasoningTokens } : {}),
  };
}
