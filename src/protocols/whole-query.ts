import type { ImagePart, Message, TurnRequest } from '../core/turn.ts';
import { type Folded, foldHistory } from './fold-history.ts';
import { refused } from './refused.ts';

/** What the model is asked where nothing is said but instructions. */
const onlyInstructions = 'Answer as your instructions say.';
const emptyMessage =
  'The message of the user is empty. Answer as your instructions say, or ask what is wanted.';

/**
 * All messages as one text, for an upstream that knows nothing of the conversation; system messages are left out.
 * Throws AppError `invalid_request` for messages that end with nothing to answer.
 */
export function wholeQuery({
  messages: given,
  messagesParam: param = 'messages',
}: Pick<TurnRequest, 'messages' | 'messagesParam'>): Folded {
  // Some clients put an empty answer there, to be filled in.
  const messages = given.slice(0, given.findLastIndex((message) => !isEmptyAnswer(message)) + 1);
  const start = messages.findLastIndex(({ role }) => role === 'assistant' || role === 'tool') + 1;
  const before = messages[start - 1];
  const news = messages.slice(start);
  const { text, images } = userInputOf(news);
  const hasInstructions = news.some(({ role }) => role === 'system');
  const query = text ?? (before?.role !== 'tool' && hasInstructions ? onlyInstructions : undefined);
  if (query === undefined && !canGoOnFrom(before)) {
    const reason =
      'ends with nothing to answer: the last message must be one of the user, a tool result, or the beginning of the answer as an assistant message';
    throw refused(param, reason);
  }
  const folded = foldHistory(messages.slice(0, start), query);
  return { query: folded.query, images: [...folded.images, ...images] };
}

function isEmptyAnswer({ role, parts }: Message): boolean {
  return role === 'assistant' && parts.every((part) => part.type === 'text' && part.text.trim() === '');
}

/** A tool result asks for an answer; a text of the assistant at the end is the beginning of one. */
function canGoOnFrom(message: Message | undefined): boolean {
  return message?.role === 'tool' || (message?.role === 'assistant' && message.parts.at(-1)?.type === 'text');
}

/** All user texts, a blank line between them. An image alone needs some text to go with, and so does an empty message. */
export function userInputOf(messages: readonly Message[]): {
  text: string | undefined;
  images: ImagePart[];
} {
  const texts: string[] = [];
  const images: ImagePart[] = [];
  let isEmpty = false;
  for (const message of messages) {
    if (message.role !== 'user') continue;
    isEmpty = true;
    for (const part of message.parts) {
      if (part.type === 'image') images.push(part);
      else if (part.text.trim() !== '') texts.push(part.text);
    }
  }
  if (texts.length > 0) return { text: texts.join('\n\n'), images };
  if (images.length > 0) return { text: 'See the attached image.', images };
  return { text: isEmpty ? emptyMessage : undefined, images };
}
