import type { FinishReason, Usage } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { errorIn } from '../shared/failed-answer.ts';
import { classifyNamed } from '../shared/openai-failure.ts';
import { objectsIn, readResponsesUsage, textIn } from '../shared/read-answer.ts';
import { editMembers, type ReadAnswer, type ReadEvent, type RelayTap, unreadable } from '../shared/relay.ts';
import { failureIn, finishOf } from './decode-stream.ts';

/** The body of a relayed request: the client's own text with another model name and, where the account cannot read it, without reasoning. */
export function relayRequest(body: string, model: string, leavesReasoningOut: boolean): string {
  return editMembers(body, {
    model: () => JSON.stringify(model),
    ...(leavesReasoningOut && { input: withoutReasoning }),
  });
}

function withoutReasoning(input = '[]'): string {
  const items: unknown = JSON.parse(input);
  if (!Array.isArray(items)) return input;
  return JSON.stringify(items.filter((item) => !isJsonObject(item) || item['type'] !== 'reasoning'));
}

export class ResponsesTap implements RelayTap {
  /** The events that end an answer. */
  readonly relevant = /"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed)|error)"|"error"\s*:\s*\{/g;

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

export function readAnswer(answer: JsonObject): ReadAnswer {
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
