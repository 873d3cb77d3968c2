import type { AnyImage, Message, ToolResultPart } from '../core/turn.ts';

/** What the model is told of a call whose result the client never sent. */
const noResult = 'No result: the client did not say what came of this call.';

/**
 * A history in which every call has a result, because upstreams break on one that has none. Clients leave calls behind
 * when a person interrupts them; the model is told so. Calls at the very end are the client's to answer.
 */
export function withAllResults<Image extends AnyImage>(
  messages: readonly Message<Image>[],
): readonly Message<Image>[] {
  const open = openCalls(messages);
  if (open.size === 0) return messages;
  const whole: Message<Image>[] = [];
  let missing: readonly string[] = [];
  const addMissing = (): void => {
    if (missing.length === 0) return;
    const parts = missing.map(
      (callId): ToolResultPart<Image> => ({ type: 'tool-result', callId, text: noResult, isError: true }),
    );
    whole.push({ role: 'tool', parts });
    missing = [];
  };
  for (const message of messages) {
    // Missing results follow those that are there.
    if (message.role !== 'tool') addMissing();
    whole.push(message);
    if (message.role !== 'assistant') continue;
    missing = callsOf(message).filter((id) => open.has(id));
  }
  if (messages.at(-1)?.role !== 'assistant') addMissing();
  return whole;
}

function openCalls(messages: readonly Message<AnyImage>[]): Set<string> {
  const open = new Set(messages.flatMap(callsOf));
  if (open.size === 0) return open;
  for (const message of messages) {
    if (message.role === 'tool') for (const { callId } of message.parts) open.delete(callId);
  }
  return open;
}

function callsOf(message: Message<AnyImage>): string[] {
  if (message.role !== 'assistant') return [];
  return message.parts.flatMap((part) => (part.type === 'tool-call' ? [part.id] : []));
}
