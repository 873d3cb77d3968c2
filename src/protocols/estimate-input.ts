import type { AskedRequest } from '../core/turn.ts';

/**
 * Four characters a token. Clients read the input tokens from a stream's first event, when most upstreams have told
 * nothing yet; the last event has the figures. A tokenizer would cost more than the guess is worth.
 */
export function estimateInput(request: AskedRequest): number {
  let characters = request.tools.length === 0 ? 0 : JSON.stringify(request.tools).length;
  for (const { parts } of request.messages) {
    for (const part of parts) {
      if (part.type === 'tool-call') characters += part.name.length + part.arguments.length;
      else if (part.type === 'text' || part.type === 'tool-result') characters += part.text.length;
    }
  }
  return Math.ceil(characters / 4);
}
