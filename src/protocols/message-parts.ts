import type { AnyImage, TextPart, ToolResultPart } from '../core/turn.ts';

/** Text in the two forms all dialects have for it: as it is, or in a list of parts. */
export function textParts(content: string | readonly { readonly text: string }[]): TextPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return content.map(({ text }) => ({ type: 'text', text }));
}

/** What came of a call: its texts as one, and the images beside it. */
export function toolResult(
  callId: string,
  parts: readonly (TextPart | AnyImage)[],
  isError = false,
): ToolResultPart<AnyImage> {
  const images = parts.filter((part) => part.type !== 'text');
  return {
    type: 'tool-result',
    callId,
    text: parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n'),
    ...(images.length > 0 ? { images } : {}),
    isError,
  };
}

/** The arguments of a call as JSON text. Some clients send them as an object, or none at all. */
export function argumentsText(given: unknown): string {
  if (typeof given === 'string') return given;
  return given === undefined || given === null ? '{}' : JSON.stringify(given);
}

/** How a model is told what a conversation came to. */
export function summaryText(summary: string): string {
  return `The conversation so far, in short:\n${summary}`;
}
