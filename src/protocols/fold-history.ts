import type { ImagePart, Message } from '../core/turn.ts';

/** A history as one text, with the images that text refers to. */
export interface Folded {
  readonly query: string;
  readonly images: readonly ImagePart[];
}

const goOnFromResults = 'The last tool results above are new. Continue the conversation from there.';
const goOnWithAnswer =
  'The last [assistant] text above is the beginning of your answer, cut off in the middle. Write what comes next, from ' +
  'the very letter where it stops: repeat none of it, and put nothing in front.';

/**
 * The new user text with everything said before it in front, for a conversation the upstream does not know. The new
 * text comes last and unchanged; with no history it stands alone. `newText` undefined: the history ends with tool
 * results the model has not seen, or with the beginning of its answer. At most `imageRoom` images of the history are
 * kept, the latest ones.
 */
export function foldHistory(
  history: readonly Message[],
  newText: string | undefined,
  imageRoom: number,
): Folded {
  const spoken = history.filter((message) => message.role !== 'system');
  if (spoken.length === 0) return { query: newText ?? '', images: [] };

  const allImages = spoken.flatMap(imagesOf);
  const dropped = Math.max(0, allImages.length - imageRoom);
  let imageNumber = 0;
  const nameImage = () => {
    imageNumber++;
    return imageNumber > dropped
      ? `[attached image ${imageNumber - dropped}]`
      : '[image, no longer attached]';
  };
  const transcript = spoken.flatMap((message) => entriesOf(message, nameImage)).join('\n\n');
  const tag = unusedTag(transcript);
  return {
    query: [
      `The conversation so far, oldest first, stands between the <${tag}> marks.`,
      `<${tag}>\n${transcript}\n</${tag}>`,
      newText ?? (spoken.at(-1)?.role === 'assistant' ? goOnWithAnswer : goOnFromResults),
    ].join('\n\n'),
    images: allImages.slice(dropped),
  };
}

/** In the order in which the transcript names them. */
function imagesOf(message: Message): ImagePart[] {
  if (message.role === 'user') return message.parts.filter((part) => part.type === 'image');
  return message.role === 'tool' ? message.parts.flatMap((part) => part.images ?? []) : [];
}

function entriesOf(message: Message, nameImage: () => string): string[] {
  switch (message.role) {
    case 'user':
      return [
        `[user]\n${message.parts.map((part) => (part.type === 'text' ? part.text : nameImage())).join('\n\n')}`,
      ];
    case 'assistant':
      return message.parts.flatMap((part) => {
        if (part.type === 'text') return part.text === '' ? [] : [`[assistant]\n${part.text}`];
        // What the model thought is its own; it is not part of what was said.
        return part.type === 'tool-call' ? [`[tool call ${part.id}: ${part.name}]\n${part.arguments}`] : [];
      });
    case 'tool':
      return message.parts.map(
        (part) =>
          `[${part.isError ? 'failed tool result' : 'tool result'} ${part.callId}]\n${[part.text, ...(part.images ?? []).map(nameImage)].join('\n\n')}`,
      );
    default:
      return [];
  }
}

/** A mark whose closing form does not occur in the text, so that nothing inside can end the history early. */
function unusedTag(text: string): string {
  // One pass: a text full of such marks must not cost a pass for each.
  const used = new Set<string | undefined>();
  for (const [, number] of text.matchAll(/<\/conversation(?:-(\d+))?>/g)) used.add(number);
  if (!used.has(undefined)) return 'conversation';
  let number = 2;
  while (used.has(String(number))) number++;
  return `conversation-${number}`;
}
