import type { AnswerIdentity, CollectedTurn } from '../../core/protocol.ts';
import { callItem } from './call-item.ts';
import { summaryItem } from './compaction.ts';
import {
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
  const { usage, finishReason: reason } = answer;
  const { compaction, asked } = options;
  if (compaction) {
    const output = [summaryItem(identity, answer, compaction, asked.max_output_tokens)];
    return responseObject(identity, options, { status, output, usage, reason });
  }
  const output: OutputItem[] = [];
  if (answer.reasoning !== '') {
    const id = itemId('rs', identity, output.length);
    output.push(reasoningItem(id, 'completed', answer.reasoning, options.seal, answer.reasoningProof));
  }
  if (answer.text !== '' || answer.toolCalls.length === 0) {
    output.push(messageItem(itemId('msg', identity, output.length), status, answer.text));
  }
  for (const call of answer.toolCalls) {
    output.push(callItem(identity, output.length, call, options.tools, 'completed'));
  }
  return responseObject(identity, options, { status, output, usage, reason });
}
