import type { z } from 'zod';
import type { TextPart } from '../core/turn.ts';
import { type ContentNotes, type Place, within } from './content-notes.ts';
import { refused } from './refused.ts';

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
    return 'part' in read ? toParts(read.part, at) : [read.note];
  });
}

/** The content of a tool's result: what is neither text nor a list becomes JSON. */
export function resultContent(content: unknown): unknown {
  const isJson =
    typeof content !== 'string' && !Array.isArray(content) && content !== null && content !== undefined;
  return isJson ? JSON.stringify(content) : content;
}
