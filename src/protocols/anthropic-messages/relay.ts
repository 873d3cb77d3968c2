import type { FinishReason } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { errorIn } from '../shared/failed-answer.ts';
import { objectsIn } from '../shared/read-answer.ts';
import { editMembers, type ReadAnswer, type ReadEvent, type RelayTap, unreadable } from '../shared/relay.ts';
import { classifyNamed } from './classify-failure.ts';
import { finishOf, readUsage } from './decode-stream.ts';

/** The body of a relayed request: the client's own text with another model name. */
export function relayRequest(body: string, model: string, leavesThinkingOut = false): string {
  const others = leavesThinkingOut ? withoutThinking(JSON.parse(body)) : {};
  return editMembers(body, { model: () => JSON.stringify(model), ...others });
}

/** A budget of thinking is refused where the calls that are answered now come without what led to them. */
function withoutThinking({ messages, thinking }: JsonObject): Record<string, () => string> {
  const left = objectsIn(messages).map(({ content, ...message }) => ({
    ...message,
    content: Array.isArray(content) ? content.filter((block) => !isThinking(block)) : content,
  }));
  const said = left.filter(({ content }) => !Array.isArray(content) || content.length > 0);
  const hasBudget = isJsonObject(thinking) && thinking['type'] === 'enabled';
  return {
    messages: () => JSON.stringify(said),
    ...(hasBudget && { thinking: () => JSON.stringify({ type: 'disabled' }) }),
  };
}

function isThinking(block: unknown): boolean {
  return isJsonObject(block) && (block['type'] === 'thinking' || block['type'] === 'redacted_thinking');
}

export class MessagesTap implements RelayTap {
  /** Usage and the finish, an error, the end mark. */
  readonly relevant = /"type"\s*:\s*"(?:message_delta|message_stop|error)"/g;
  #firstUsage: unknown;
  #reason: FinishReason | undefined;

  read(data: string): ReadEvent {
    const event = parseJsonObject(data);
    switch (event?.['type']) {
      case 'message_start': {
        const { message } = event;
        this.#firstUsage = isJsonObject(message) ? message['usage'] : undefined;
        return { usage: readUsage(this.#firstUsage) };
      }
      case 'content_block_start':
        return { hasContent: beginsContent(event['content_block']) };
      case 'content_block_delta':
        return { hasContent: holdsContent(event['delta']) };
      case 'message_delta': {
        const { delta, usage } = event;
        if (isJsonObject(delta)) this.#reason = finishOf(delta['stop_reason']) ?? this.#reason;
        return { usage: readUsage(this.#firstUsage, usage) };
      }
      case 'message_stop':
        return { end: this.#reason ?? 'stop' };
      case 'error':
        return { end: classifyNamed(errorIn(event) ?? {}) };
      default:
        return {};
    }
  }
}

/** Text and thinking begin empty; anything else counts as content. */
function beginsContent(block: unknown): boolean {
  if (!isJsonObject(block)) return false;
  if (block['type'] === 'text') return block['text'] !== '';
  return block['type'] !== 'thinking' || (block['thinking'] ?? '') !== '';
}

function holdsContent(delta: unknown): boolean {
  return (
    isJsonObject(delta) &&
    Object.entries(delta).some(([name, value]) => name !== 'type' && value !== '' && value !== null)
  );
}

export function readAnswer(answer: JsonObject): ReadAnswer {
  const error = errorIn(answer);
  if (error) return classifyNamed(error);
  if (!Array.isArray(answer['content'])) return unreadable();
  return { reason: finishOf(answer['stop_reason']) ?? 'stop', usage: readUsage(answer['usage']) };
}
