import type { TextPart } from '../../core/turn.ts';
import { type ContentNotes, justSentIndex, type Place } from '../content-notes.ts';
import { type InputItem, inputItem, type RawItem } from './schema.ts';

/** An item by its schema, or the note that replaces it. */
export interface ReadItem {
  readonly item?: InputItem;
  readonly note?: TextPart;
  readonly place: Place;
  /** Who it comes from, by its type alone; undefined for kinds that are not known. */
  readonly role: string | undefined;
  /** It came after the last answer. */
  readonly isNew: boolean;
}

/**
 * `offset` items are those of earlier responses: paths count from there. Throws AppError `invalid_request` naming what the
 * user has just sent and cannot be read.
 */
export function readItems(items: readonly RawItem[], offset: number, notes: ContentNotes): ReadItem[] {
  const roles = items.map(roleOf);
  const justSent = justSentIndex(roles);
  const lastAnswer = roles.lastIndexOf('assistant');
  return items.map((raw, index) => {
    // What is stored was accepted before. Tools are offered by the request, wherever they stand.
    const isJustSent = index >= offset && (index === justSent || raw['type'] === 'additional_tools');
    const place: Place = { path: `input.${index - offset}`, isJustSent };
    const read = notes.readPart(inputItem, raw, place);
    const known = 'part' in read ? { item: read.part } : { note: read.note };
    return { ...known, place, role: roles[index], isNew: index > lastAnswer };
  });
}

function roleOf({ type, role }: RawItem): string | undefined {
  if (type === undefined || type === null || type === 'message') {
    // Results are items of their own in this dialect, so that another role says nothing of where a message comes from.
    return typeof role === 'string' && /^(system|developer|user|assistant)$/.test(role) ? role : undefined;
  }
  if (typeof type !== 'string') return undefined;
  if (/^(additional_tools|configuration_update|compaction_trigger)$/.test(type)) return 'system';
  if (type === 'agent_message') return 'user';
  if (type.endsWith('_output')) return 'tool';
  return type === 'reasoning' || type.endsWith('_call') ? 'assistant' : undefined;
}
