import type { AnswerIdentity, CollectedTurn, DecodedTurn, Inbound } from '../../core/protocol.ts';
import type { AskedMessage } from '../../core/turn.ts';
import { isJsonObject } from '../../lib/parse-json.ts';
import { errorAnswers } from '../shared/error-answers.ts';
import { textIn } from '../shared/read-answer.ts';
import { affinityKey, unreadLimit, unreadTurn } from '../shared/request.ts';
import { checkSummary, compactionItem, rulesOf } from './compaction.ts';
import { decodeResponsesRequest, parseResponsesRequest } from './decode-request.ts';
import {
  createResponsesStreamEncoder,
  encodeResponsesAnswer,
  RelayedStreamEncoder,
} from './encode-answer.ts';
import { offeredTools } from './offered-tools.ts';
import { encodeUsage, type Opaque, type ResponsesOptions } from './response.ts';
import { type RawItem, tool } from './schema.ts';

export interface ResponsesInboundOptions {
  /** Gets the response as it ended, to be stored. */
  readonly onEnd?: (response: Record<string, unknown>, identity: AnswerIdentity) => void;
  /** Opens what the client carries of ours. */
  readonly opaque?: Opaque;
}

/** OpenAI Responses, as clients speak it to us. */
export function createResponsesInbound({
  onEnd,
  opaque,
}: ResponsesInboundOptions = {}): Inbound<ResponsesOptions> {
  return {
    name: 'responses',
    idPrefix: 'resp_',
    parameterNames: { reasoningEffort: 'reasoning.effort' },
    decode: (body) => decodeResponsesRequest(parseResponsesRequest(body), { ...(opaque && { opaque }) }),
    readRelayed: readRelayedResponses,
    streamEncoder(identity, options) {
      if (options.isRelayed) return new RelayedStreamEncoder(identity, options);
      return createResponsesStreamEncoder(
        identity,
        options,
        onEnd && ((response) => onEnd(response, identity)),
      );
    },
    encodeAnswer(identity, answer, options) {
      if (answer.relayed !== undefined) return answer.relayed;
      const response = encodeResponsesAnswer(identity, answer, options);
      onEnd?.(response, identity);
      return JSON.stringify(response);
    },
    ...errorAnswers('responses'),
  };
}

/** Whether the request needs what is kept here, the caller has to know. */
function readRelayedResponses(body: unknown, text: string): DecodedTurn<ResponsesOptions> | undefined {
  if (!isJsonObject(body)) return undefined;
  const { model, stream, prompt_cache_key: key } = body;
  const limit = unreadLimit(body['max_output_tokens']);
  const relayed = { dialect: 'responses', body: text, isStream: stream === true, ...limit } as const;
  const turn = unreadTurn(body, relayed, {
    includeUsage: true,
    isRelayed: true,
    asked: { model: textIn(model), input: [], store: false },
    tools: offeredTools([]),
    input: [],
  } satisfies ResponsesOptions);
  return turn && { ...turn, ...affinityKey(key) };
}

/** Answers such a turn: tools that came as items, all messages of the user, then one item that holds the rest. */
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
      ...broughtTools(items, `at_${hex}`),
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

/** A request may bring no more. */
const maxTools = 512;

/** What items brought of tools is offered on, as far as the next request may bring it. */
function broughtTools(items: readonly RawItem[], id: string): RawItem[] {
  const tools = items
    .filter(({ type }) => type === 'additional_tools' || type === 'tool_search_output')
    .flatMap(({ tools: brought }) => (Array.isArray(brought) ? (brought as readonly unknown[]) : []));
  const readable = tools.filter((brought) => tool.safeParse(brought).success).slice(-maxTools);
  return readable.length === 0 ? [] : [{ id, type: 'additional_tools', role: 'developer', tools: readable }];
}
