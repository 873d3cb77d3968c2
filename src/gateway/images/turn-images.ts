import { AppError } from '../../core/errors.ts';
import type { ImageLimits, OutboundTurn } from '../../core/protocol.ts';
import type {
  AnyImage,
  AskedMessage,
  AskedRequest,
  DocumentPart,
  ImagePart,
  ImageUrlPart,
  Message,
  TextPart,
  ToolResultPart,
} from '../../core/turn.ts';
import type { HeldBody } from '../../lib/http/body-budget.ts';
import { HttpFault } from '../../lib/http/http-fault.ts';
import { createLimit } from '../../lib/tasks.ts';
import { ContentNotes, justSentIndex, type Unshown } from '../../protocols/shared/read-messages.ts';
import { imagesOf } from '../models/model-choice.ts';
import type { ImageFetcher } from './image-fetcher.ts';

/** An upstream turn as it is before its images are fetched. */
export interface AskedTurn {
  readonly request: AskedRequest;
  readonly remembered?: Omit<NonNullable<OutboundTurn['remembered']>, 'newMessages'> & {
    readonly newMessages: readonly AskedMessage[];
  };
}

/** What the model and its upstream take of images. */
export interface ImageRules {
  readonly hasVision: boolean;
  readonly takesDocuments: boolean;
  readonly limits: ImageLimits;
}

export interface PreparedTurn {
  readonly turn: OutboundTurn;
  /** Images that a note replaced, as paths without numbers. */
  readonly ignored: readonly string[];
}

/** Fetched for one turn; of older messages the latest. */
export const maxFetchedImages = 20;
const maxFetchedBytes = 20 * 1024 * 1024;
/** Of one turn, so that slow hosts of one do not hold up the images of all. */
const fetchesAtOnce = 4;

const gone: Unshown = {
  what: 'an image',
  why: 'is no longer at its address',
  advice: 'send it inline',
};
const notFetched: Unshown = {
  what: 'an image',
  why: 'is not fetched from its address here',
  advice: 'send it inline, as base64, or ask the operator of this gateway to set FETCH_IMAGES=yes',
};
const unseen: Unshown = {
  what: 'an image',
  why: 'the model cannot see',
  advice: 'choose a model that takes images',
};

/** Undefined when a request has none. */
export function turnImagesOf(
  request: AskedRequest,
  fetcher: ImageFetcher | undefined,
): TurnImages | undefined {
  return request.messages.some(hasFiles) ? new TurnImages(fetcher) : undefined;
}

function hasFiles(message: AskedMessage): boolean {
  if (message.role === 'user') return message.parts.some(({ type }) => type !== 'text');
  return (
    message.role === 'tool' &&
    message.parts.some(({ images = [], documents = [] }) => images.length + documents.length > 0)
  );
}

/** What is shown of images and documents; a document that is not in it stays as it is. */
type Shown = Map<AnyImage | DocumentPart, ImagePart | TextPart>;

/** An image of a request, and whether its user has just sent it. */
interface Found {
  readonly image: AnyImage;
  readonly isJustSent: boolean;
  /** Of a message that the upstream has not seen. */
  readonly isUnseen: boolean;
}

/**
 * The images of one request. `prepare` makes them what the upstream takes: inline, of a size and number it takes, or a note in
 * their place. Each address is fetched once, however often the turn is begun.
 */
export class TurnImages {
  readonly #fetcher: ImageFetcher | undefined;
  readonly #fetched = new Map<string, Promise<ImagePart>>();
  readonly #limit = createLimit(fetchesAtOnce);
  /** What has arrived for this turn, of images that then failed too. */
  #bytes = 0;
  #held: HeldBody | undefined;

  constructor(fetcher: ImageFetcher | undefined) {
    this.#fetcher = fetcher;
  }

  /** What is fetched for a turn counts until the turn ends and releases it; the choices of one request share it. */
  hold(clientId: string): HeldBody | undefined {
    this.#held = this.#held?.share() ?? this.#fetcher?.hold(clientId);
    return this.#held;
  }

  /** Throws AppError `invalid_request` for images that the user has just sent and that no upstream could get. */
  check({ messages }: AskedRequest): void {
    const notes = new ContentNotes();
    const sent = foundIn(messages, 0).filter(
      ({ image, isJustSent }) => isJustSent && image.type === 'image-url',
    );
    const [first] = sent;
    if (first && this.#fetcher === undefined) noteFor(first, notFetched, notes);
    const tooMany = sent[maxFetchedImages];
    if (tooMany) noteFor(tooMany, tooManyOf(maxFetchedImages, 'fetched for one turn'), notes);
  }

  /** Throws AppError `invalid_request` for what the user has just sent and the upstream does not take. */
  async prepare(
    { request, remembered }: AskedTurn,
    rules: ImageRules,
    signal: AbortSignal,
  ): Promise<PreparedTurn> {
    const { messages } = request;
    const firstUnseen = remembered ? messages.length - remembered.newMessages.length : 0;
    const found = foundIn(messages, firstUnseen);
    const notes = new ContentNotes();
    const shown = await this.#show(found, rules, notes, signal);
    if (!rules.takesDocuments) replaceDocuments(messages, shown, notes);
    const prepared = messages.map((message) => withImages(message, shown));
    const turn: OutboundTurn = {
      request: { ...request, messages: prepared },
      ...(remembered && { remembered: { ...remembered, newMessages: prepared.slice(firstUnseen) } }),
    };
    return { turn, ignored: notes.ignored };
  }

  async #show(
    found: readonly Found[],
    { hasVision, limits }: ImageRules,
    notes: ContentNotes,
    signal: AbortSignal,
  ): Promise<Shown> {
    const shown: Shown = new Map();
    const replace = (one: Found, reason: Unshown): void => {
      // What the upstream has seen needs no name.
      shown.set(one.image, noteFor(one, reason, one.isUnseen ? notes : new ContentNotes()));
    };
    const show = (one: Found, part: ImagePart): void => {
      const fault = sizeFaultOf(part, limits);
      if (fault) replace(one, fault);
      else
        shown.set(one.image, {
          ...part,
          ...(one.image.cacheBreakpoint && { cacheBreakpoint: one.image.cacheBreakpoint }),
        });
    };
    let room = limits.maxCount;
    const toFetch: { readonly one: Found; readonly image: ImageUrlPart }[] = [];
    // The latest images are those that are kept.
    for (const one of [...found].reverse()) {
      const { image, isUnseen } = one;
      if (!hasVision) replace(one, unseen);
      else if (image.type === 'image-url' && (!isUnseen || this.#fetcher === undefined)) {
        replace(one, isUnseen ? notFetched : gone);
      } else if (room === 0 || (image.type === 'image-url' && toFetch.length === maxFetchedImages)) {
        replace(one, tooManyOf(limits.maxCount, 'taken with one turn'));
      } else {
        room -= 1;
        if (image.type === 'image-url') toFetch.unshift({ one, image });
        else show(one, image);
      }
    }
    await Promise.all(
      toFetch.map(async ({ one, image }) => {
        try {
          show(one, await this.#fetch(image, signal));
        } catch (error) {
          signal.throwIfAborted();
          const isOverload = error instanceof AppError && error.code === 'overloaded';
          if (one.isJustSent || isOverload) throw error;
          replace(one, gone);
        }
      }),
    );
    return shown;
  }

  #fetch(image: ImageUrlPart, signal: AbortSignal): Promise<ImagePart> {
    const known = this.#fetched.get(image.url);
    if (known) return known;
    const fetching = this.#fetchOnce(image, signal);
    // Each caller that awaits it gets the error.
    fetching.catch(() => {});
    this.#fetched.set(image.url, fetching);
    return fetching;
  }

  async #fetchOnce(image: ImageUrlPart, signal: AbortSignal): Promise<ImagePart> {
    const fetcher = this.#fetcher;
    if (fetcher === undefined) throw new Error('There is nothing to fetch images with.');
    return await this.#limit(async () => {
      // Others may have taken the room while this one waited.
      this.#count(image, 0);
      return await fetcher.fetch(image, signal, (count) => this.#count(image, count));
    });
  }

  #count({ param }: ImageUrlPart, bytes: number): void {
    this.#bytes += bytes;
    try {
      this.#held?.add(bytes);
    } catch (error) {
      throw error instanceof HttpFault
        ? new AppError('overloaded', error.message, { cause: error, retryAfterMs: error.retryAfterMs ?? 0 })
        : error;
    }
    if (this.#bytes <= maxFetchedBytes) return;
    const message = `${param}: the fetched images of one turn are more than 20 MB together; send fewer or smaller ones.`;
    throw new AppError('invalid_request', message, { param });
  }
}

function tooManyOf(most: number, what: string): Unshown {
  return { what: 'an image', why: `is one too many: at most ${most} are ${what}`, advice: 'send fewer' };
}

function sizeFaultOf(image: ImagePart, { maxBytes }: ImageLimits): Unshown | undefined {
  const size = bytesOf(image);
  if (maxBytes === undefined || size <= maxBytes) return undefined;
  const [has, most] = [size, maxBytes].map((bytes) => (bytes / 1_000_000).toFixed(2).replace(/\.?0+$/, ''));
  return {
    what: 'an image',
    why: `has ${has} MB, and the upstream takes up to ${most} MB`,
    advice: 'make it smaller',
  };
}

function bytesOf({ data }: ImagePart): number {
  return Math.floor((data.length * 3) / 4);
}

function noteFor({ image, isJustSent }: Found, reason: Unshown, notes: ContentNotes): TextPart {
  return notes.replace(reason, { path: image.param ?? 'messages', isJustSent });
}

/** In their order. */
function foundIn(messages: readonly AskedMessage[], firstUnseen: number): Found[] {
  const justSent = justSentIndex(messages.map(({ role }) => role));
  return messages.flatMap((message, index) =>
    imagesOf(message).map((image) => ({
      image,
      isJustSent: index === justSent,
      isUnseen: index >= firstUnseen,
    })),
  );
}

function documentsOf(message: AskedMessage): readonly DocumentPart[] {
  if (message.role === 'user') return message.parts.filter((part) => part.type === 'document');
  return message.role === 'tool' ? message.parts.flatMap(({ documents = [] }) => documents) : [];
}

/** By the note of each. One that was just sent is judged before: an upstream without the ability refuses it. */
function replaceDocuments(messages: readonly AskedMessage[], shown: Shown, notes: ContentNotes): void {
  for (const document of messages.flatMap(documentsOf)) {
    shown.set(document, { type: 'text', text: document.note });
    notes.ignore(document.ignoredAs);
  }
}

function withImages(message: AskedMessage, shown: Shown): Message {
  const shownOf = (part: AnyImage | DocumentPart): (ImagePart | DocumentPart | TextPart)[] => {
    const found = shown.get(part) ?? (part.type === 'document' ? part : undefined);
    return found ? [found] : [];
  };
  if (message.role === 'user') {
    return {
      role: 'user',
      parts: message.parts.flatMap((part) => (part.type === 'text' ? [part] : shownOf(part))),
    };
  }
  if (message.role !== 'tool') return message;
  return {
    role: 'tool',
    parts: message.parts.map(({ images: asked = [], documents: sent = [], ...part }): ToolResultPart => {
      const parts = [...asked, ...sent].flatMap(shownOf);
      const images = parts.filter((one) => one.type === 'image');
      const documents = parts.filter((one) => one.type === 'document');
      const notes = parts.flatMap((one) => (one.type === 'text' ? [one.text] : []));
      return {
        ...part,
        text: [...(part.text === '' && notes.length > 0 ? [] : [part.text]), ...notes].join('\n'),
        ...(images.length > 0 ? { images } : {}),
        ...(documents.length > 0 ? { documents } : {}),
      };
    }),
  };
}
