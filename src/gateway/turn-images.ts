import { AppError } from '../core/errors.ts';
import type { OutboundTurn } from '../core/protocol.ts';
import type { AnyImage, AskedMessage, AskedRequest, ImagePart, ImageUrlPart, Message } from '../core/turn.ts';
import type { ImageFetcher } from './image-fetcher.ts';

/** An upstream turn as it is before its images are fetched. */
export interface AskedTurn {
  readonly request: AskedRequest;
  readonly remembered?: Omit<NonNullable<OutboundTurn['remembered']>, 'newMessages'> & {
    readonly newMessages: readonly AskedMessage[];
  };
}

/** The images a request names by their addresses. */
export interface TurnImages {
  /** Puts them inline, as far as the upstream will see them; each is fetched once, however often the turn is begun. */
  inline(turn: AskedTurn, signal: AbortSignal): Promise<OutboundTurn>;
}

/** Fetched for one turn; of older messages the latest. */
export const maxFetchedImages = 20;
const maxFetchedBytes = 20 * 1024 * 1024;

/** Undefined when a request has none. Throws AppError `invalid_request` when it may not have any, or has too many. */
export function turnImagesOf(
  request: AskedRequest,
  fetcher: ImageFetcher | undefined,
): TurnImages | undefined {
  const [first] = request.messages.flatMap(imageUrlsOf);
  if (first === undefined) return undefined;
  const { param } = first;
  if (fetcher === undefined) {
    throw new AppError(
      'invalid_request',
      `${param}: images are not fetched here: send it inline, as base64, or have whoever runs this gateway set FETCH_IMAGES=yes.`,
      { param },
    );
  }
  const fresh = request.messages.slice(startOfNews(request.messages)).flatMap(imageUrlsOf);
  const tooMany = fresh[maxFetchedImages];
  if (tooMany) {
    throw new AppError(
      'invalid_request',
      `${tooMany.param}: at most ${maxFetchedImages} images are fetched for one turn; send fewer, or send them inline.`,
      { param: tooMany.param },
    );
  }
  return createTurnImages(fetcher);
}

/** A turn without addresses is an upstream's turn as it stands. */
export function inlineTurn(
  turn: AskedTurn,
  images: TurnImages | undefined,
  signal: AbortSignal,
): OutboundTurn | Promise<OutboundTurn> {
  return images ? images.inline(turn, signal) : (turn as OutboundTurn);
}

function createTurnImages(fetcher: ImageFetcher): TurnImages {
  const fetched = new Map<string, Promise<ImagePart>>();
  let bytes = 0;

  function fetchOnce(image: ImageUrlPart, signal: AbortSignal): Promise<ImagePart> {
    let fetching = fetched.get(image.url);
    if (!fetching) {
      fetching = fetcher.fetch(image, signal).then((part) => {
        bytes += part.data.length * 0.75;
        if (bytes <= maxFetchedBytes) return part;
        const message = `${image.param}: the fetched images of one turn are more than 20 MB together; send fewer or smaller ones.`;
        throw new AppError('invalid_request', message, { param: image.param });
      });
      // Whoever asks for it hears of it.
      fetching.catch(() => {});
      fetched.set(image.url, fetching);
    }
    return fetching;
  }

  /** A picture of long ago that is gone must not end the conversation: its place says so. */
  async function inlineMessages(
    messages: readonly AskedMessage[],
    newsAt: number,
    signal: AbortSignal,
  ): Promise<Message[]> {
    const urls = messages.flatMap((message, index) =>
      imageUrlsOf(message).map((image) => ({ image, isNew: index >= newsAt })),
    );
    const parts = new Map<ImageUrlPart, ImagePart>();
    await Promise.all(
      urls.slice(-maxFetchedImages).map(async ({ image, isNew }) => {
        try {
          parts.set(image, await fetchOnce(image, signal));
        } catch (error) {
          signal.throwIfAborted();
          if (isNew) throw error;
        }
      }),
    );
    return messages.map((message) => withImages(message, parts));
  }

  return {
    async inline({ request, remembered }, signal) {
      if (!remembered) {
        const newsAt = startOfNews(request.messages);
        return { request: { ...request, messages: await inlineMessages(request.messages, newsAt, signal) } };
      }
      // The upstream has all that came before: only its text matters, should the memory not fit after all.
      const newMessages = await inlineMessages(remembered.newMessages, 0, signal);
      const before = request.messages.slice(0, request.messages.length - newMessages.length);
      const messages = [...before.map((message) => withImages(message, new Map())), ...newMessages];
      return { request: { ...request, messages }, remembered: { ...remembered, newMessages } };
    },
  };
}

/** What no answer has followed yet. */
function startOfNews(messages: readonly AskedMessage[]): number {
  return messages.findLastIndex((message) => message.role === 'assistant') + 1;
}

function imageUrlsOf(message: AskedMessage): ImageUrlPart[] {
  if (message.role === 'user') return message.parts.filter((part) => part.type === 'image-url');
  if (message.role !== 'tool') return [];
  return message.parts.flatMap((part) => (part.images ?? []).filter((image) => image.type === 'image-url'));
}

const goneText = '[an image that is no longer at its address]';

function withImages(message: AskedMessage, parts: ReadonlyMap<ImageUrlPart, ImagePart>): Message {
  const inlineOf = (image: AnyImage): ImagePart | undefined =>
    image.type === 'image' ? image : parts.get(image);
  if (message.role === 'user') {
    return {
      role: 'user',
      parts: message.parts.map((part) =>
        part.type === 'text' ? part : (inlineOf(part) ?? { type: 'text', text: goneText }),
      ),
    };
  }
  if (message.role !== 'tool') return message;
  return {
    role: 'tool',
    parts: message.parts.map(({ images: asked = [], ...part }) => {
      const images = asked.flatMap((image) => inlineOf(image) ?? []);
      const text = images.length < asked.length ? `${part.text}\n${goneText}` : part.text;
      return { ...part, text, ...(images.length > 0 ? { images } : {}) };
    }),
  };
}
