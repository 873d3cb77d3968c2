import { z } from 'zod';
import type { AskedMessage } from '../../core/turn.ts';
import { parseJson } from '../../lib/parse-json.ts';
import type { ContentNotes, Place } from '../content-notes.ts';
import { summaryText, textParts } from '../message-parts.ts';
import type { Opaque } from './opaque.ts';
import type { CompactionItem } from './schema.ts';

/** What a compaction keeps of a conversation, beside the words of its user. */
const compacted = z.object({
  /** Messages of the system and the developer: they hold as before. */
  rules: z.array(z.string()).readonly(),
  summary: z.string(),
});
export type Compacted = z.infer<typeof compacted>;

export function compactionItem(id: string, content: Compacted, opaque: Opaque) {
  return { id, type: 'compaction' as const, encrypted_content: opaque.seal(JSON.stringify(content)) };
}

/** What a compaction says to the model; a note when it is not one of ours. Rules that are `known` are not said again. */
export function readCompaction(
  item: CompactionItem,
  opaque: Opaque | undefined,
  notes: ContentNotes,
  place: Place,
  known: ReadonlySet<string>,
): AskedMessage[] {
  const content = contentOf(opaque?.open(item.encrypted_content));
  if (content === undefined) return [{ role: 'user', parts: [notes.replace(foreign, place)] }];
  const rules = content.rules.filter((rule) => !known.has(rule));
  return [
    ...rules.map((text): AskedMessage => ({ role: 'system', parts: [{ type: 'text', text }] })),
    {
      role: 'user',
      parts: textParts(summaryText(content.summary)),
    },
  ];
}

const foreign = {
  what: 'a summary of the conversation',
  why: 'was not made by this gateway for this key',
  advice: 'send the conversation itself, or compact it here',
  field: 'encrypted_content',
};

/** Sealed reasoning is no compaction, though we could open it. */
function contentOf(opened: string | undefined): Compacted | undefined {
  return opened === undefined ? undefined : compacted.safeParse(parseJson(opened)).data;
}
