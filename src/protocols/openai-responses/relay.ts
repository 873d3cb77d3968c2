import type { TurnDecoder } from '../../core/protocol.ts';
import type { FinishReason, Usage } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { objectsIn, textIn } from '../shared/json-values.ts';
import { classifyNamed, errorIn } from '../shared/openai-failure.ts';
import { readResponsesUsage } from '../shared/openai-usage.ts';
import {
  type ReadAnswer,
  type ReadEvent,
  type RelayTap,
  StreamRelay,
  unreadable,
  WholeRelay,
} from '../shared/relay.ts';
import { finishOf } from './decode-stream.ts';
import { failureIn } from './failure.ts';

export function createStreamRelay(): TurnDecoder {
  return new StreamRelay(new ResponsesTap());
}

class ResponsesTap implements RelayTap {
  /** The events that end an answer. */
  readonly telling = /"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed)|error)"|"error"\s*:\s*\{/g;

  read(data: string): ReadEvent {
    const event = parseJsonObject(data);
    if (!event) return {};
    const failure = failureIn(event);
    if (failure) return { usage: usageIn(event['response']), end: failure };
    const type = textIn(event['type']);
    const { item, response } = event;
    if (type !== 'response.completed' && type !== 'response.incomplete') {
      const isCall = isJsonObject(item) && isCallItem(item);
      return { hasContent: isCall || (type.endsWith('.delta') && textIn(event['delta']) !== '') };
    }
    const answer = isJsonObject(response) ? response : {};
    return { usage: usageIn(answer), end: reasonOf(answer) };
  }
}

export function createWholeRelay(): TurnDecoder {
  return new WholeRelay(readAnswer);
}

function readAnswer(answer: JsonObject): ReadAnswer {
  if (!Array.isArray(answer['output'])) {
    const error = errorIn(answer);
    return error ? classifyNamed(error) : unreadable();
  }
  const { status } = answer;
  if (status === 'failed') return classifyNamed(errorIn(answer) ?? {});
  if (status !== 'completed' && status !== 'incomplete') return unreadable();
  return { reason: reasonOf(answer), usage: usageIn(answer) };
}

function reasonOf({ status, incomplete_details: details, output }: JsonObject): FinishReason {
  const reason = textIn(isJsonObject(details) ? details['reason'] : '');
  return finishOf(status !== 'incomplete', reason, objectsIn(output).some(isCallItem));
}

/** Of a tool that the client runs, or the upstream. */
function isCallItem({ type }: JsonObject): boolean {
  return textIn(type).endsWith('_call');
}

function usageIn(response: unknown): Usage | undefined {
  return isJsonObject(response) ? readResponsesUsage(response['usage']) : undefined;
}
