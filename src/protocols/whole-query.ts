import { AppError } from '../core/errors.ts';
import type { ImagePart, Message } from '../core/turn.ts';
import { type Folded, foldHistory } from './fold-history.ts';

/**
 * All messages as one text, for an upstream that knows nothing of the conversation; system messages are left out.
 * Throws AppError `invalid_request` for `messages` when they bring nothing new, or more new images than it takes.
 */
export function wholeQuery(messages: readonly Message[], maxImages: number): Folded {
  const start =
    messages.findLastIndex((message) => message.role === 'assistant' || message.role === 'tool') + 1;
  const { text, images } = userInputOf(messages.slice(start), maxImages);
  if (text === undefined && !canGoOnFrom(messages[start - 1])) {
    throw new AppError(
      'invalid_request',
      'The messages end without new input; the last one must be a user message with text, a tool result, or the beginning of the answer as an assistant message.',
      { param: 'messages' },
    );
  }
  const folded = foldHistory(messages.slice(0, start), text, maxImages - images.length);
  return { query: folded.query, images: [...folded.images, ...images] };
}

/** A tool result asks for an answer; a text of the assistant at the end is the beginning of one. */
function canGoOnFrom(message: Message | undefined): boolean {
  if (message?.role !== 'assistant') return message?.role === 'tool';
  const last = message.parts.at(-1);
  return last?.type === 'text' && last.text.trim() !== '';
}

/**
 * All user texts, a blank line between them. An image alone needs some text to go with. Throws AppError
 * `invalid_request` for more images than the upstream takes.
 */
export function userInputOf(
  messages: readonly Message[],
  maxImages: number,
): { text: string | undefined; images: ImagePart[] } {
  const texts: string[] = [];
  const images: ImagePart[] = [];
  for (const message of messages) {
    if (message.role !== 'user') continue;
    for (const part of message.parts) {
      if (part.type === 'image') images.push(part);
      else if (part.text.trim() !== '') texts.push(part.text);
    }
  }
  if (images.length > maxImages) {
    throw new AppError(
      'invalid_request',
      `The upstream takes at most ${maxImages} images at a time, and there are ${images.length}; send fewer.`,
      { param: 'messages' },
    );
  }
  if (texts.length > 0) return { text: texts.join('\n\n'), images };
  return { text: images.length > 0 ? 'See the attached image.' : undefined, images };
}
