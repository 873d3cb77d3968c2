import type { z } from 'zod';
import { AppError } from '../core/errors.ts';
import { upToFirstProblem } from '../core/first-problem-only.ts';
import type { TextPart } from '../core/turn.ts';
import { firstProblem } from './first-problem.ts';
import { refused } from './refused.ts';

/** Why some content cannot be shown to the model. */
export interface Unshown {
  /** What it is: `an image`. */
  readonly what: string;
  /** The reason, as the end of a sentence about it: `is empty`. */
  readonly why: string;
  /** What its sender can do instead. */
  readonly advice: string;
  /** Where exactly, below its place. */
  readonly field?: string;
}

/** The place of content in a request. */
export interface Place {
  /** As the dialect spells it: `messages.0.content.1`. */
  readonly path: string;
  /** The user has just sent it, and can send something else. */
  readonly isJustSent: boolean;
}

const knownRoles: ReadonlySet<string> = new Set(['system', 'developer', 'user', 'assistant', 'tool']);
/** More kinds than this are not named. */
const maxNames = 50;
/** An unreadable part costs many times what a readable one does. */
const mostUnread = 10_000;

/**
 * The one rule for content that cannot be shown to the model: what the user has just sent is refused; anything else is
 * replaced by a note and named in `x-warp2api-ignored`. Clients resend their history and the results of their tools with
 * every turn, so an error there would end the conversation for ever. A note depends on its content alone: the same
 * history reads the same with every turn.
 */
export class ContentNotes {
  readonly #names = new Set<string>();
  #unread = 0;

  /** What was replaced, as paths without numbers. */
  get ignored(): readonly string[] {
    return [...this.#names];
  }

  /** Names something that is left out without a note. */
  ignore(name: string): void {
    if (this.#names.size < maxNames) this.#names.add(name);
  }

  /** The content itself, or the note that replaces it. Throws AppError `invalid_request` for what was just sent. */
  shown<Part extends { readonly type: string }>(
    content: Part | Unshown,
    place: Place,
    kind?: string,
  ): Part | TextPart {
    return isUnshown(content) ? this.replace(content, place, kind) : content;
  }

  /** The note that replaces content. Throws AppError `invalid_request` for what was just sent. */
  replace({ what, why, advice, field }: Unshown, place: Place, kind?: string): TextPart {
    if (place.isJustSent) {
      throw refused(field === undefined ? place.path : `${place.path}.${field}`, `${why}: ${advice}`);
    }
    this.ignore(kind === undefined ? kindOf(place.path) : `${kindOf(place.path)}.${kind}`);
    return { type: 'text', text: noteOf({ what, why }) };
  }

  /** A value by its schema; undefined where it does not follow it. Throws AppError `invalid_request` for what was just sent. */
  read<Schema extends z.ZodType>(schema: Schema, value: unknown, place: Place): z.infer<Schema> | undefined {
    const parsed = schema.safeParse(value, upToFirstProblem);
    if (parsed.success) return parsed.data;
    if (!place.isJustSent) {
      this.#unread += 1;
      if (this.#unread > mostUnread) throw refused(place.path, tooManyUnread);
      return undefined;
    }
    const { path, message } = firstProblem(parsed.error, value);
    const param = path === 'body' ? place.path : `${place.path}.${path}`;
    throw new AppError('invalid_request', `${param}: ${message}`, { param });
  }

  /** The same for a part of a message, with a note in place of one that cannot be read. */
  readPart<Schema extends z.ZodType>(
    schema: Schema,
    value: unknown,
    place: Place,
  ): { readonly part: z.infer<Schema> } | { readonly note: TextPart } {
    const part = this.read(schema, value, place);
    if (part !== undefined) return { part };
    const kind = typeOf(value);
    const what = kind === undefined ? 'content' : `content of the type ${JSON.stringify(kind)}`;
    const advice = 'leave it out';
    return { note: this.replace({ what, why: 'cannot be read here', advice }, place, kind) };
  }
}

const tooManyUnread = `cannot be read here, like ${mostUnread} others before it: begin a new conversation`;

/** The note that the model sees in place of content. */
export function noteOf({ what, why }: Pick<Unshown, 'what' | 'why'>): string {
  return `[Not shown: ${what} that ${why}.]`;
}

export function isUnshown(value: object): value is Unshown {
  return 'why' in value && 'what' in value;
}

/** The place of something below. */
export function within({ path, isJustSent }: Place, step: string | number): Place {
  return { path: `${path}.${step}`, isJustSent };
}

/**
 * The message that the user has just sent, by its index: the last one of the user, and without one since the last answer
 * the last of all, such as the beginning of an answer. -1 where results of tools came since the last answer: the client is
 * at work, and what its tools brought it may send in messages of the user, too.
 */
export function justSentIndex(roles: readonly (string | undefined)[]): number {
  const last = roles.length - 1;
  // Nothing is known of it but that it is new.
  if (last !== -1 && !knownRoles.has(roles[last] ?? '')) return last;
  let found = -1;
  for (let index = roles.length - 1; index >= 0; index -= 1) {
    if (roles[index] === 'assistant') break;
    if (roles[index] === 'tool') return -1;
    if (found === -1 && roles[index] === 'user') found = index;
  }
  return found === -1 ? last : found;
}

function kindOf(path: string): string {
  return path.replaceAll(/\.\d+(?=\.|$)/g, '');
}

function typeOf(value: unknown): string | undefined {
  const type = typeof value === 'object' && value !== null ? (value as { type?: unknown }).type : undefined;
  return typeof type === 'string' && type !== '' ? type.slice(0, 64) : undefined;
}
