import { z } from 'zod';
import type { AskedMessage } from '../../core/turn.ts';
import { summaryText, textParts } from '../message-parts.ts';
import { refused } from '../refused.ts';
import type { Opaque } from './opaque.ts';
import type { CompactionItem } from './schema.ts';

/** What a compaction keeps of a conversation, beside the words of its user. */
const compacted = z.object({
  /** Messages of the system and the developer: they hold as before. */
  rules: z.array(z.string()),
  summary: z.string(),
});
export type Compacted = z.infer<typeof compacted>;

export function compactionItem(id: string, content: Compacted, opaque: Opaque) {
  return { id, type: 'compaction', encrypted_content: opaque.seal(JSON.stringify(content)) };
}

/** What a compaction says to the model. Throws AppError `invalid_request` when it is none of ours. */
export function readCompaction(
  item: CompactionItem,
  opaque: Opaque | undefined,
  path: string,
): AskedMessage[] {
  const content = contentOf(opaque?.open(item.encrypted_content));
  if (content === undefined) {
    throw refused(
      `${path}.encrypted_content`,
      'was not made by this gateway for this key: send the conversation itself, or compact it here',
    );
  }
  return [
    ...content.rules.map((text): AskedMessage => ({ role: 'system', parts: [{ type: 'text', text }] })),
    {
      role: 'user',
      parts: textParts(summaryText(content.summary)),
    },
  ];
}

/** Sealed reasoning is no compaction, though we could open it. */
function contentOf(opened: string | undefined): Compacted | undefined {
  if (opened === undefined) return undefined;
  try {
    return compacted.safeParse(JSON.parse(opened)).data;
  } catch {
    return undefined;
  }
}
