import type { ContentNotes, Place } from '../content-notes.ts';
import { type ReadEntry, readEntries } from '../read-entries.ts';
import { refused } from '../refused.ts';
import { type InputItem, inputItem, itemSchemaOf, type RawItem } from './schema.ts';

/** Most of them are the same again and again, but each has to be read. */
const mostTools = 50_000;

export type ReadItem = ReadEntry<InputItem>;

/**
 * `offset` items are those of earlier responses: paths count from there. Throws AppError `invalid_request` naming what the
 * user has just sent and cannot be read.
 */
export function readItems(items: readonly RawItem[], offset: number, notes: ContentNotes): ReadItem[] {
  let tools = 0;
  for (const [index, item] of items.entries()) {
    if (Array.isArray(item['tools'])) tools += item['tools'].length;
    if (tools > mostTools) {
      const reason = `brings too many tools: all items together may bring ${mostTools}`;
      throw refused(`input.${index - offset}.tools`, reason);
    }
  }
  const placeAt = (index: number, isJustSent: boolean): Place => ({
    path: `input.${index - offset}`,
    // What is stored was accepted before. Tools are offered by the request, wherever they stand.
    isJustSent: index >= offset && (isJustSent || items[index]?.['type'] === 'additional_tools'),
  });
  return readEntries(items, inputItem, items.map(roleOf), notes, placeAt, (item) =>
    itemSchemaOf(item as RawItem),
  );
}

function roleOf({ type, role }: RawItem): string | undefined {
  if (type === undefined || type === null || type === 'message') {
    // Results are separate items in this dialect, so an unknown role does not show where a message comes from.
    return typeof role === 'string' && /^(system|developer|user|assistant)$/.test(role) ? role : undefined;
  }
  if (typeof type !== 'string') return undefined;
  if (/^(additional_tools|configuration_update|compaction_trigger)$/.test(type)) return 'system';
  if (type === 'agent_message') return 'user';
  if (type.endsWith('_output')) return 'tool';
  return type === 'reasoning' || type.endsWith('_call') ? 'assistant' : undefined;
}
