import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn, DecodedTurn } from '../../core/protocol.ts';
import type { AskedMessage } from '../../core/turn.ts';
import { parseJson } from '../../lib/parse-json.ts';
import { type ContentNotes, type Place, summaryText, textParts } from '../shared/read-messages.ts';
import { itemId, type Opaque, type OutputItem, type ResponsesOptions } from './response.ts';
import type { CompactionItem } from './schema.ts';

const task = [
  'This conversation is to be continued by someone who sees only the messages of its user and what you write now.',
  'Write down all that is needed to go on without asking again: what the user wants and has decided, what was found out',
  'and done, with names, paths, numbers and code that still matter, what failed and why, and what is left to do.',
  'Write plain text, as short as it can be without losing any of this. Call no tool and do not answer the user.',
].join(' ');

/** The turn in which a model sums a conversation up. `items` are those it consists of. */
export function compactionTurn(decoded: DecodedTurn<ResponsesOptions>): DecodedTurn<ResponsesOptions> {
  const { request } = decoded;
  if (decoded.options.compaction) return { ...decoded, isStream: false };
  return {
    ...decoded,
    isStream: false,
    request: {
      ...request,
      messages: [...request.messages, { role: 'user', parts: [{ type: 'text', text: task }] }],
      tools: [],
      toolChoice: { type: 'none' },
      responseFormat: { type: 'text' },
    },
  };
}

/** The one item of a response that was asked for by a `compaction_trigger`. Throws AppError for what is no summary. */
export function summaryItem(
  identity: AnswerIdentity,
  answer: Pick<CollectedTurn, 'text' | 'finishReason'>,
  { rules, opaque }: NonNullable<ResponsesOptions['compaction']>,
  limit: number | null | undefined,
): OutputItem {
  checkSummary(answer, limit);
  return compactionItem(itemId('cmp', identity, 0), { rules, summary: answer.text.trim() }, opaque);
}

/** A part of a summary looks like a whole one. */
export function checkSummary(
  { text, finishReason }: Pick<CollectedTurn, 'text' | 'finishReason'>,
  limit: number | null | undefined,
): void {
  if (finishReason === 'length') {
    if (limit) {
      const reason = 'max_output_tokens: the summary did not fit into it: leave it out.';
      throw new AppError('invalid_request', reason, { param: 'max_output_tokens' });
    }
    throw new AppError('upstream_protocol', 'The summary was cut short; try again, or compact less at once.');
  }
  if (finishReason === 'stop' && text.trim() !== '') return;
  throw new AppError('upstream_protocol', 'The model did not sum the conversation up; try again.');
}

export function rulesOf(messages: readonly AskedMessage[]): string[] {
  return messages.flatMap((message) =>
    message.role === 'system' ? message.parts.map(({ text }) => text).filter((text) => text !== '') : [],
  );
}

/** What a compaction keeps of a conversation, beside the words of its user. */
const compacted = z.object({
  /** Messages of the system and the developer: they hold as before. */
  rules: z.array(z.string()).readonly(),
  summary: z.string(),
});
type Compacted = z.infer<typeof compacted>;

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
