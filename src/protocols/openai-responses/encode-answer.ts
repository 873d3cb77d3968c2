import type { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn, StreamEncoder } from '../../core/protocol.ts';
import type { TurnEvent } from '../../core/turn.ts';
import { callItem, isCut } from './call-item.ts';
import { summaryItem } from './compaction.ts';
import {
  type ContentPart,
  encodeCitation,
  endOf,
  eventError,
  itemId,
  messageItem,
  type OutputItem,
  type ResponsesOptions,
  reasoningItem,
  responseObject,
} from './response.ts';
import { ResponseEvents } from './response-events.ts';

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
  const lastCall = answer.isLastCallOver ? undefined : answer.toolCalls.at(-1);
  for (const call of answer.toolCalls) {
    const ended = call === lastCall && isCut(call) ? status : 'completed';
    output.push(callItem(identity, output.length, call, options.tools, ended));
  }
  return responseObject(identity, options, { status, output, usage, metadata, reason });
}

/** The events of a response as server-sent ones. `onEnd` gets the response as it ended. */
export function createResponsesStreamEncoder(
  identity: AnswerIdentity,
  options: ResponsesOptions,
  onEnd?: (response: Record<string, unknown>) => void,
): StreamEncoder {
  let text = '';
  const events = new ResponseEvents(identity, options, {
    emit(type, json) {
      text += serverSentEvent(type, json);
    },
    ...(onEnd ? { onEnd } : {}),
  });
  return {
    keepAlive: ': keep-alive\n\n',
    encode(batch) {
      text = '';
      events.push(batch);
      // The open specification ends a stream with this line as Chat Completions does; a broken one goes without.
      return batch[batch.length - 1]?.type === 'finish' ? `${text}${streamEnd}` : text;
    },
  };
}

export const streamEnd = 'data: [DONE]\n\n';

export function serverSentEvent(type: string, json: string): string {
  return `event: ${type}\ndata: ${json}\n\n`;
}

/**
 * Passes the upstream's own events on. One that broke off ends with a failed response, under the upstream's id and the next number of
 * its events.
 */
export class RelayedStreamEncoder implements StreamEncoder {
  readonly keepAlive = ': keep-alive\n\n';
  readonly #identity: AnswerIdentity;
  readonly #options: ResponsesOptions;
  #id: string | undefined;
  #last = '';

  constructor(identity: AnswerIdentity, options: ResponsesOptions) {
    this.#identity = identity;
    this.#options = options;
  }

  encode(batch: readonly TurnEvent[]): string {
    const text = batch.map((event) => (event.type === 'relayed' ? event.text : '')).join('');
    // The first text holds the response as it was created.
    this.#id ??= /"id"\s*:\s*"(resp[\w-]+)"/.exec(text)?.[1];
    if (text !== '') this.#last = text;
    const end = batch.at(-1);
    return end?.type === 'error' ? text + this.#failed(end.error) : text;
  }

  #failed(error: AppError): string {
    const numbers = [...this.#last.matchAll(/"sequence_number"\s*:\s*(\d+)/g)];
    const next = Number(numbers.at(-1)?.[1] ?? -1) + 1;
    const identity = { ...this.#identity, id: this.#id ?? this.#identity.id };
    const now = { status: 'failed', output: [], usage: undefined, error } as const;
    const event = {
      type: 'response.failed',
      sequence_number: next,
      response: responseObject(identity, this.#options, now),
      error: eventError(error),
    };
    return serverSentEvent(event.type, JSON.stringify(event));
  }
}
