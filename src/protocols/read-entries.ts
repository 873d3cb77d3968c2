import type { z } from 'zod';
import type { AskedMessage, TextPart } from '../core/turn.ts';
import { type ContentNotes, justSentIndex, type Place } from './content-notes.ts';

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
): ReadEntry<z.infer<Schema>>[] {
  const justSent = justSentIndex(roles);
  const lastAnswer = roles.lastIndexOf('assistant');
  return entries.map((entry, index) => {
    const place = placeAt(index, index === justSent);
    const read = notes.readPart(place.isJustSent ? schema : schemaOf(entry), entry, place);
    const around = { place, role: roles[index], isNew: index > lastAnswer };
    return 'part' in read ? { value: read.part, ...around } : { note: read.note, ...around };
  });
}

/** The messages of a request in the dialects that have a list of them. */
export interface DecodedMessages {
  readonly messages: readonly AskedMessage[];
  /** What the model is not shown, as paths without numbers. */
  readonly ignored: readonly string[];
}

/** The place of a message in such a list. */
export const messagePlace = (index: number, isJustSent: boolean): Place => ({
  path: `messages.${index}`,
  isJustSent,
});

/** The message that holds nothing but the note. */
export function noteMessage({ role, note }: Extract<ReadEntry<unknown>, { note: TextPart }>): AskedMessage {
  return { role: role === 'assistant' ? 'assistant' : 'user', parts: [note] };
}
