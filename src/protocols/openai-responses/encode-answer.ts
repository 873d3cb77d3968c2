import type { AnswerIdentity, CollectedTurn } from '../../core/protocol.ts';
import { callItem } from './call-item.ts';
import type { ResponsesOptions } from './decode-request.ts';
import { itemId, messageItem, type OutputItem, reasoningItem, responseObject } from './response.ts';

export function encodeResponsesAnswer(
  identity: AnswerIdentity,
  answer: CollectedTurn,
  options: ResponsesOptions,
): Record<string, unknown> {
  const isCut = answer.finishReason === 'length';
  const output: OutputItem[] = [];
  if (answer.reasoning !== '') {
    output.push(reasoningItem(itemId('rs', identity, output.length), 'completed', answer.reasoning));
  }
  if (answer.text !== '' || answer.toolCalls.length === 0) {
    const status = isCut ? 'incomplete' : 'completed';
    output.push(messageItem(itemId('msg', identity, output.length), status, answer.text));
  }
  for (const call of answer.toolCalls) {
    output.push(callItem(identity, output.length, call, options.tools, 'completed'));
  }
  const status = isCut ? 'incomplete' : 'completed';
  return responseObject(identity, options, { status, output, usage: answer.usage });
}
