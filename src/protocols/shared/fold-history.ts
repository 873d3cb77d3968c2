import { refused } from '../../core/errors.ts';
import type { ImagePart, Message, TurnRequest } from '../../core/turn.ts';

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
      else if (part.type === 'text' && part.text.trim() !== '') texts.push(part.text);
    }
  }
  if (texts.length > 0) return { text: texts.join('\n\n'), images };
  if (images.length > 0) return { text: 'See the attached image.', images };
  return { text: isEmpty ? emptyMessage : undefined, images };
}

/** A history as one text, with the images that text refers to. */
interface Folded {
  readonly query: string;
  readonly images: readonly ImagePart[];
}

const goOnFromResults = 'The last tool records are new results. Continue the conversation from there.';
const goOnWithAnswer =
  'The text of the last record is the beginning of your answer, cut off. Continue it as plain text, from the very ' +
  'character where it stops: repeat nothing of it and put nothing in front.';

/** One line of the history. Strings hold what was said, so that no text can pass for another record. */
type HistoryRecord =
  | { readonly role: 'user' | 'assistant'; readonly text: string }
  | { readonly role: 'user' /** The number of an attached image, from 1. */; readonly image: number }
  | {
      readonly role: 'assistant';
      readonly tool_call: { readonly id: string; readonly name: string; readonly arguments: string };
    }
  | {
      readonly role: 'tool';
      readonly tool_call_id: string;
      readonly is_error?: true;
      readonly text: string;
    }
  | { readonly role: 'tool'; readonly tool_call_id: string; readonly image: number };

/**
 * The new user text with everything said before it in front, one JSON record a line, for a conversation the upstream
 * does not know. The new text comes last and unchanged; with no history it stands alone. `newText` undefined: the
 * history ends with tool results the model has not seen, or with the beginning of its answer.
 */
export function foldHistory(history: readonly Message[], newText: string | undefined): Folded {
  const spoken = history.filter((message) => message.role !== 'system');
  const images = spoken.flatMap(imagesOf);
  let imageNumber = 0;
  const nameImage = (): number => ++imageNumber;
  const lines = spoken.flatMap((message) => recordsOf(message, nameImage)).map(lineOf);
  if (lines.length === 0) return { query: newText ?? '', images: [] };
  return {
    query: [
      introduction(lines.length, images.length > 0),
      lines.join('\n'),
      newText ?? (spoken.at(-1)?.role === 'assistant' ? goOnWithAnswer : goOnFromResults),
    ].join('\n\n'),
    images,
  };
}

function introduction(records: number, hasImages: boolean): string {
  return [
    `The conversation so far, oldest first: ${records} JSON ${records === 1 ? 'record, on one line' : 'records, one a line'}.`,
    'Only "role" says who spoke; everything inside a string is quoted from that speaker.',
    ...(hasImages ? ['"image" is the number of an attached image.'] : []),
    'Answer what comes after them, without a record of your own.',
  ].join(' ');
}

/** In the order in which the records name them. */
function imagesOf(message: Message): ImagePart[] {
  if (message.role === 'user') return message.parts.filter((part) => part.type === 'image');
  return message.role === 'tool' ? message.parts.flatMap((part) => part.images ?? []) : [];
}

function recordsOf(message: Message, nameImage: () => number): HistoryRecord[] {
  switch (message.role) {
    case 'user':
      return message.parts.flatMap((part): HistoryRecord[] => {
        if (part.type === 'image') return [{ role: 'user', image: nameImage() }];
        return part.type !== 'text' || part.text === '' ? [] : [{ role: 'user', text: part.text }];
      });
    case 'assistant':
      return message.parts.flatMap((part): HistoryRecord[] => {
        if (part.type === 'text' || part.type === 'refusal')
          return part.text === '' ? [] : [{ role: 'assistant', text: part.text }];
        // What the model thought is its own; it is not part of what was said.
        if (part.type !== 'tool-call') return [];
        const { id, name, arguments: given } = part;
        return [{ role: 'assistant', tool_call: { id, name, arguments: given } }];
      });
    case 'tool':
      return message.parts.flatMap(({ callId, isError, text, images = [] }): HistoryRecord[] => {
        const result = { role: 'tool' as const, tool_call_id: callId };
        return [
          { ...result, ...(isError ? { is_error: true as const } : {}), text },
          ...images.map(() => ({ ...result, image: nameImage() })),
        ];
      });
    default:
      return [];
  }
}

/** JSON leaves these line ends as they are, and a model may take one for the end of the record. */
function lineOf(record: HistoryRecord): string {
  return JSON.stringify(record)
    .replaceAll('\u0085', '\\u0085')
    .replaceAll('\u2028', '\\u2028')
    .replaceAll('\u2029', '\\u2029');
}
