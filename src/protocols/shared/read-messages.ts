import type { z } from 'zod';
import { AppError, refused } from '../../core/errors.ts';
import { upToFirstProblem } from '../../core/first-problem-only.ts';
import type {
  AnyImage,
  AskedMessage,
  Cacheable,
  DocumentPart,
  TextPart,
  ToolResultPart,
  Wish,
} from '../../core/turn.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { withAllResults } from './calls.ts';
import { firstProblem } from './request.ts';

/** What messages of the user hold, and results of tools. */
export type InputPart = TextPart | AnyImage | DocumentPart;

/** A message or an item of a conversation: by its schema, or the note that replaces it. */
export type ReadEntry<Value> = EntryPlace &
  ({ readonly value: Value; readonly note?: never } | { readonly value?: never; readonly note: TextPart });

interface EntryPlace {
  readonly place: Place;
  /** Who it comes from; undefined where that is not known. */
  readonly role: string | undefined;
  /** It came after the last answer. */
  readonly isNew: boolean;
}

/**
 * Reads the entries one by one, so that an unreadable one does not end the conversation. `roles` are those of the entries;
 * an entry with results of tools has the role `tool`. `schemaOf` returns the part of the schema that an entry may follow; one
 * that was just sent is checked with the whole schema, whose errors say more. Throws AppError `invalid_request` naming what the user has
 * just sent and cannot be read.
 */
export function readEntries<Schema extends z.ZodType>(
  entries: readonly unknown[],
  schema: Schema,
  roles: readonly (string | undefined)[],
  notes: ContentNotes,
  placeAt: (index: number, isJustSent: boolean) => Place,
  schemaOf: (entry: unknown) => z.ZodType<z.infer<Schema>> = () => schema as z.ZodType<z.infer<Schema>>,
  isSound: (entry: unknown) => entry is z.infer<Schema> = isNone,
): ReadEntry<z.infer<Schema>>[] {
  const justSent = justSentIndex(roles);
  const lastAnswer = roles.lastIndexOf('assistant');
  return entries.map((entry, index) => {
    const place = placeAt(index, index === justSent);
    const around = { place, role: roles[index], isNew: index > lastAnswer };
    if (isSound(entry)) return { value: entry, ...around };
    const read = notes.readPart(place.isJustSent ? schema : schemaOf(entry), entry, place);
    return 'part' in read ? { value: read.part, ...around } : { note: read.note, ...around };
  });
}

const isNone = (_entry: unknown): _entry is never => false;

const plainRoles: ReadonlySet<unknown> = new Set(['system', 'user', 'assistant']);

/** A message that is one text. It follows the schema, and to see that by the schema costs more than all else of it. */
function isPlain<Message>(entry: unknown): entry is Message {
  if (!isJsonObject(entry)) return false;
  const { role, content } = entry;
  return typeof content === 'string' && plainRoles.has(role) && Object.keys(entry).length === 2;
}

/** The messages of the dialects whose messages have a role and a content, and both of them may be plain text. */
export function readMessages<Schema extends z.ZodType>(
  messages: readonly unknown[],
  schema: Schema,
  roles: readonly (string | undefined)[],
  notes: ContentNotes,
): ReadEntry<z.infer<Schema>>[] {
  return readEntries(messages, schema, roles, notes, messagePlace, undefined, isPlain);
}

/** The messages of a request in the dialects that have a list of them. */
export interface DecodedMessages {
  readonly messages: readonly AskedMessage[];
  /** What the model is not shown, as paths without numbers. */
  readonly ignored: readonly string[];
  readonly wishes: readonly Wish[];
}

export function decodedMessages(
  messages: readonly AskedMessage[],
  { ignored, wishes }: ContentNotes,
): DecodedMessages {
  return { messages: withAllResults(messages), ignored, wishes };
}

/** The place of a message in such a list. */
const messagePlace = (index: number, isJustSent: boolean): Place => ({
  path: `messages.${index}`,
  isJustSent,
});

/** The message that holds nothing but the note. */
export function noteMessage({ role, note }: Extract<ReadEntry<unknown>, { note: TextPart }>): AskedMessage {
  return { role: role === 'assistant' ? 'assistant' : 'user', parts: [note] };
}

/**
 * The content of a message in the form all dialects share: text, or a list of parts, each read by its schema and with a
 * note in place of one that cannot be shown. Throws AppError `invalid_request` for what was just sent.
 */
export function readContent<Schema extends z.ZodType, Part extends { readonly type: string }>(
  notes: ContentNotes,
  content: unknown,
  schema: Schema,
  place: Place,
  toParts: (part: z.infer<Schema>, place: Place) => readonly (Part | TextPart)[],
): (Part | TextPart)[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  if (content === undefined && place.isJustSent)
    throw refused(place.path, 'is missing: send a string or a list');
  if (content === null || content === undefined) return [];
  if (!Array.isArray(content)) {
    const why = 'is neither text nor a list of parts';
    return [notes.replace({ what: 'content', why, advice: 'send a string or a list' }, place)];
  }
  return content.flatMap((value: unknown, position): readonly (Part | TextPart)[] => {
    if (typeof value === 'string') return [{ type: 'text', text: value }];
    const at = within(place, position);
    const read = notes.readPart(schema, value, at);
    if (!('part' in read)) return [read.note];
    const parts = toParts(read.part, at);
    const mark = cacheMark(value);
    const last = parts.at(-1);
    return last && mark.cacheBreakpoint ? parts.with(-1, { ...last, ...mark }) : parts;
  });
}

/**
 * Where a block, a part or a tool says that the request may be cached up to its end: Anthropic's and OpenAI's word for it. What is no
 * such mark counts as absent.
 */
export function cacheMark(value: unknown): Cacheable {
  if (!isJsonObject(value)) return {};
  const mark = value['cache_control'] ?? value['prompt_cache_breakpoint'];
  if (!isJsonObject(mark)) return {};
  const [, count, unit] = /^(\d{1,4})([mh])$/.exec(String(mark['ttl'])) ?? [];
  const ttlSeconds = Number(count) * (unit === 'h' ? 3_600 : 60);
  return { cacheBreakpoint: Number.isNaN(ttlSeconds) ? {} : { ttlSeconds } };
}

/** The content of a tool's result: what is neither text nor a list becomes JSON. */
export function resultContent(content: unknown): unknown {
  const isJson =
    typeof content !== 'string' && !Array.isArray(content) && content !== null && content !== undefined;
  return isJson ? JSON.stringify(content) : content;
}

/** Text in the two forms all dialects have for it: as it is, or in a list of parts. */
export function textParts(content: string | readonly { readonly text: string }[]): TextPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return content.map((part) => ({ type: 'text', text: part.text, ...cacheMark(part) }));
}

/** What came of a call: its texts as one, and what else there is beside it. */
export function toolResult(
  callId: string,
  parts: readonly InputPart[],
  isError = false,
): ToolResultPart<AnyImage> {
  const images = parts.filter((part) => part.type === 'image' || part.type === 'image-url');
  const documents = parts.filter((part) => part.type === 'document');
  const mark = parts.findLast((part) => part.cacheBreakpoint)?.cacheBreakpoint;
  return {
    type: 'tool-result',
    callId,
    text: parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n'),
    ...(images.length > 0 ? { images } : {}),
    ...(documents.length > 0 ? { documents } : {}),
    ...(mark && { cacheBreakpoint: mark }),
    isError,
  };
}

/** The arguments of a call as JSON text. Some clients send them as an object, or none at all. */
export function argumentsText(given: unknown): string {
  if (typeof given === 'string') return given;
  return given === undefined || given === null ? '{}' : JSON.stringify(given);
}

/** A summary of a conversation, as the model reads it. */
export function summaryText(summary: string): string {
  return `The conversation so far, in short:\n${summary}`;
}

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
  /** What the user has just sent and only some upstreams take. */
  readonly wishes: Wish[] = [];
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
    if (place.isJustSent) throw refused(below(place.path, field), `${why}: ${advice}`);
    this.ignore(ignoredAs(place, kind));
    return { type: 'text', text: noteOf({ what, why }) };
  }

  /** A document with the note for upstreams that take none; they refuse one that was just sent. */
  document(
    file: Pick<DocumentPart, 'mediaType' | 'data' | 'name'>,
    { what, why, advice, field }: Unshown,
    place: Place,
    kind: string,
  ): DocumentPart {
    if (place.isJustSent) {
      const says = `${why}: ${advice}`;
      const param = below(place.path, field);
      this.wishes.push({ ability: 'documents', param, otherwise: 'refused', says });
    }
    const note = noteOf({ what, why });
    return { type: 'document', ...file, note, ignoredAs: ignoredAs(place, kind) };
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
function noteOf({ what, why }: Pick<Unshown, 'what' | 'why'>): string {
  return `[Not shown: ${what} that ${why}.]`;
}

function isUnshown(value: object): value is Unshown {
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

function below(path: string, field: string | undefined): string {
  return field === undefined ? path : `${path}.${field}`;
}

/** The path without numbers. */
function ignoredAs({ path }: Place, kind: string | undefined): string {
  return below(path.replaceAll(/\.\d+(?=\.|$)/g, ''), kind);
}

function typeOf(value: unknown): string | undefined {
  const type = typeof value === 'object' && value !== null ? (value as { type?: unknown }).type : undefined;
  return typeof type === 'string' && type !== '' ? type.slice(0, 64) : undefined;
}
