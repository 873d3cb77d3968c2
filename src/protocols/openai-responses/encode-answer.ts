import type { AnswerIdentity, CollectedTurn } from '../../core/protocol.ts';
import { callItem } from './call-item.ts';
import { summaryItem } from './compaction.ts';
import {
  type ContentPart,
  encodeCitation,
  endOf,
  itemId,
  messageItem,
  type OutputItem,
  type ResponsesOptions,
  reasoningItem,
  responseObject,
} from './response.ts';

export function encodeResponsesAnswer(
  identity: AnswerIdentity,
  answer: CollectedTurn,
  options: ResponsesOptions,
): Record<string, unknown> {
  const { status } = endOf(answer.finishReason);
  const { usage, metadata, finishReason: reason, refusal = '', citations = [] } = answer;
  const { compaction, asked } = options;
  if (compaction) {
    const output = [summaryItem(identity, answer, compaction, asked.max_output_tokens)];
    return responseObject(identity, options, { status, output, usage, reason });
  }
  const output: OutputItem[] = [];
  if (answer.reasoning !== '' || (answer.reasoningProof && options.seal)) {
    const id = itemId('rs', identity, output.length);
    output.push(reasoningItem(id, 'completed', answer.reasoning, options.seal, answer.reasoningProof));
  }
  const parts: ContentPart[] = [];
  if (answer.text !== '' || (answer.toolCalls.length === 0 && refusal === '')) {
    const annotations = citations.map(encodeCitation);
    parts.push({ type: 'output_text', text: answer.text, annotations, logprobs: [] });
  }
  if (refusal !== '') parts.push({ type: 'refusal', refusal });
  if (parts.length > 0) output.push(messageItem(itemId('msg', identity, output.length), status, parts));
  for (const call of answer.toolCalls) {
    output.push(callItem(identity, output.length, call, options.tools, 'completed'));
  }
  return responseObject(identity, options, { status, output, usage, metadata, reason });
}
