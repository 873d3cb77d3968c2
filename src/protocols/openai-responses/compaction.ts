import { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn, DecodedTurn, Inbound } from '../../core/protocol.ts';
import type { AskedMessage } from '../../core/turn.ts';
import { compactionItem } from './compaction-item.ts';
import type { ResponsesOptions } from './decode-request.ts';
import { createResponsesInbound } from './inbound.ts';
import type { Opaque } from './opaque.ts';
import { encodeUsage } from './response.ts';
import type { RawItem } from './schema.ts';

const task = [
  'This conversation is to be continued by somebody who sees only the messages of its user and what you write now.',
  'Write down all that is needed to go on without asking again: what the user wants and has decided, what was found out',
  'and done, with names, paths, numbers and code that still matter, what failed and why, and what is left to do.',
  'Write plain text, as short as it can be without losing any of this. Call no tool and do not answer the user.',
].join(' ');

/** The turn in which a model sums a conversation up. `items` are those it consists of. */
export function compactionTurn(decoded: DecodedTurn<ResponsesOptions>): DecodedTurn<ResponsesOptions> {
  const { request } = decoded;
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

/** Answers such a turn: all messages of the user, then one item that holds the rest. */
export function createCompactionInbound(
  items: readonly RawItem[],
  messages: readonly AskedMessage[],
  opaque: Opaque,
): Inbound<ResponsesOptions> {
  return {
    ...createResponsesInbound(),
    encodeAnswer(identity, answer, { asked }) {
      checkSummary(answer, asked.max_output_tokens);
      return JSON.stringify(compactedResponse(identity, answer, items, messages, opaque));
    },
  };
}

/** Nobody could tell a part of a summary from the whole. */
function checkSummary({ text, finishReason }: CollectedTurn, limit: number | null | undefined): void {
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

function compactedResponse(
  identity: AnswerIdentity,
  { text, usage }: CollectedTurn,
  items: readonly RawItem[],
  messages: readonly AskedMessage[],
  opaque: Opaque,
): Record<string, unknown> {
  const hex = identity.id.replace(/^resp_/, '');
  const said = items.filter((item) => item['role'] === 'user');
  const content = { rules: rulesOf(messages), summary: text.trim() };
  return {
    id: identity.id,
    object: 'response.compaction',
    created_at: identity.created,
    output: [
      ...said.map((item, index) => ({
        ...item,
        id: item['id'] ?? `msg_${hex}${index}`,
        type: 'message',
        status: 'completed',
        content:
          typeof item['content'] === 'string'
            ? [{ type: 'input_text', text: item['content'] }]
            : item['content'],
      })),
      compactionItem(`cmp_${hex}${said.length}`, content, opaque),
    ],
    usage: encodeUsage(usage),
  };
}

function rulesOf(messages: readonly AskedMessage[]): string[] {
  return messages.flatMap((message) =>
    message.role === 'system' ? message.parts.map(({ text }) => text).filter((text) => text !== '') : [],
  );
}
