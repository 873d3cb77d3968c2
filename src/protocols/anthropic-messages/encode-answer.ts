import type { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn, StreamEncoder } from '../../core/protocol.ts';
import {
  beginsNothing,
  type Citation,
  type FinishReason,
  type ReasoningProof,
  type TurnEvent,
  type Usage,
} from '../../core/turn.ts';
import { shownArguments } from '../shared/calls.ts';
import { CallsInTurn } from '../shared/calls-in-turn.ts';
import type { MessagesOptions } from './decode-request.ts';
import { signatureOf } from './thinking-proof.ts';

export function encodeMessagesError(error: AppError, requestId?: string): string {
  return JSON.stringify({
    type: 'error',
    error: {
      type: error.anthropicType,
      message: error.message,
      ...(error.details === undefined ? {} : { details: error.details }),
    },
    ...(requestId === undefined ? {} : { request_id: requestId }),
  });
}

export function encodeMessagesAnswer(
  identity: AnswerIdentity,
  answer: CollectedTurn,
  options: MessagesOptions,
): string {
  if (answer.relayed !== undefined) return answer.relayed;
  const thought = options.showsThinking ? answer.reasoning : '';
  const thinking =
    thought !== '' || (options.signsThinking && answer.reasoningProof)
      ? [
          {
            type: 'thinking',
            thinking: thought,
            signature: signatureOf(identity, answer.reasoningProof),
          },
        ]
      : [];
  const { refusal = '', citations = [], finishReason: reason, stopSequence = null } = answer;
  const said = answer.text + refusal;
  const cited = citations.length === 0 ? {} : { citations: citations.map(encodeCitation) };
  const text = said === '' ? [] : [{ type: 'text', text: said, ...cited }];
  const calls = answer.toolCalls.map((call) => ({
    type: 'tool_use',
    id: call.id,
    name: call.name,
    input: shownArguments(call.arguments),
  }));
  return JSON.stringify({
    id: identity.id,
    type: 'message',
    role: 'assistant',
    model: identity.model,
    content: [...thinking, ...text, ...calls],
    ...endOf({ reason, stopSequence }, refusal),
    usage: encodeUsage(answer.usage),
  });
}

const stopReasons: Record<FinishReason, string> = {
  stop: 'end_turn',
  length: 'max_tokens',
  'tool-calls': 'tool_use',
  'content-filter': 'refusal',
};

/** How an answer ended. `refusal`: what the model said instead of one, which the dialect has no other place for than its text. */
function endOf(
  { reason, stopSequence = null }: { readonly reason: FinishReason; readonly stopSequence?: string | null },
  refusal: string,
) {
  const isRefusal = refusal !== '' || reason === 'content-filter';
  const otherwise = stopSequence === null ? stopReasons[reason] : 'stop_sequence';
  return {
    stop_reason: isRefusal ? 'refusal' : otherwise,
    stop_sequence: stopSequence,
    // No upstream tells the category.
    stop_details: isRefusal ? { type: 'refusal', category: null, explanation: refusal || null } : null,
    container: null,
  };
}

/** As a search on the web would tell it. Only the provider could fill in the index. */
function encodeCitation({ url, title }: Citation): object {
  const type = 'web_search_result_location';
  return { type, url, title: title ?? null, cited_text: '', encrypted_index: '' };
}

function encodeUsage(usage: Usage | undefined) {
  const cached = usage?.cachedInputTokens ?? 0;
  const written = usage?.cacheWriteTokens ?? 0;
  return {
    // Tokens read from a cache and written to one are counted apart in this dialect.
    input_tokens: Math.max(0, (usage?.inputTokens ?? 0) - cached - written),
    cache_creation_input_tokens: written,
    cache_read_input_tokens: cached,
    output_tokens: usage?.outputTokens ?? 0,
    ...(usage?.reasoningTokens === undefined
      ? {}
      : { output_tokens_details: { thinking_tokens: usage.reasoningTokens } }),
    server_tool_use: null,
  };
}

/** The one that has begun and not ended. */
interface OpenBlock {
  readonly kind: 'text' | 'thinking' | 'tool';
  /** Of a tool. */
  readonly call: number | undefined;
}

const heads = {
  text: '{"type":"text","text":""}',
  thinking: '{"type":"thinking","thinking":"","signature":""}',
};

const ping = sse('ping', '');

/** Events in the dialect's order: message_start, blocks one after another, message_delta, message_stop. None is opened again. */
export function createMessagesStreamEncoder(
  identity: AnswerIdentity,
  options: MessagesOptions,
): StreamEncoder {
  let isStarted = false;
  /** The upstream's own stream is passed on, from its first event to its end mark. */
  let isRelayed = false;
  let index = -1;
  let usage: Usage | undefined;
  let proof: ReasoningProof | undefined;
  /** It came behind its reasoning. */
  let isProofUnsent = false;
  let refusal = '';
  /** Citations that the next block of text has to end with. */
  const cited: Citation[] = [];
  let open: OpenBlock | undefined;
  /** Of the events that are encoded now. */
  let text = '';
  const inTurn = new CallsInTurn((event) => {
    text += encodeOne(event);
  });

  const delta = (content: string): string =>
    sse('content_block_delta', `"index":${index},"delta":${content}`);

  function closed(): string {
    if (!open) return '';
    const { kind } = open;
    open = undefined;
    const signature =
      kind === 'thinking'
        ? delta(`{"type":"signature_delta","signature":"${signatureOf(identity, proof)}"}`)
        : '';
    const citations = kind === 'text' ? cited.splice(0) : [];
    const sources = citations.map((one) =>
      delta(`{"type":"citations_delta","citation":${JSON.stringify(encodeCitation(one))}}`),
    );
    return `${signature}${sources.join('')}${sse('content_block_stop', `"index":${index}`)}`;
  }

  function begin(kind: OpenBlock['kind'], content: string, call?: number): string {
    const before = closed();
    index += 1;
    open = { kind, call };
    return before + sse('content_block_start', `"index":${index},"content_block":${content}`);
  }

  function said(kind: 'text' | 'thinking', text: string): string {
    const head = open?.kind === kind ? '' : begin(kind, heads[kind]);
    return head + delta(`{"type":"${kind}_delta","${kind}":${JSON.stringify(text)}}`);
  }

  function encodeOne(event: TurnEvent): string {
    switch (event.type) {
      case 'text-delta':
        return said('text', event.text);
      case 'refusal-delta':
        refusal += event.text;
        return said('text', event.text);
      case 'citation':
        cited.push(event.citation);
        return '';
      case 'reasoning-delta':
        return options.showsThinking ? said('thinking', event.text) : '';
      case 'reasoning-proof':
        proof = event.proof;
        if (!options.signsThinking || open?.kind === 'thinking') return '';
        // Of reasoning that the upstream shows no word of: the client has to send the proof back anyway.
        if (index === -1) return begin('thinking', heads.thinking);
        // No block may follow the text of a plain answer for it; a loop of tools needs it.
        isProofUnsent = true;
        return '';
      case 'tool-call-start': {
        const head = `{"type":"tool_use","id":${JSON.stringify(event.id)},"name":${JSON.stringify(event.name)},"input":{}}`;
        const thinking = isProofUnsent ? begin('thinking', heads.thinking) : '';
        isProofUnsent = false;
        return thinking + begin('tool', head, event.index);
      }
      case 'tool-call-delta':
        return open?.call === event.index
          ? delta(`{"type":"input_json_delta","partial_json":${JSON.stringify(event.arguments)}}`)
          : '';
      case 'tool-call-end':
        return open?.call === event.index ? closed() : '';
      case 'usage':
        usage = event.usage;
        return '';
      case 'finish': {
        const ended = JSON.stringify(endOf(event, refusal));
        return [
          closed(),
          // Of text whose block had ended before they came.
          cited.length === 0 ? '' : begin('text', heads.text) + closed(),
          sse('message_delta', `"delta":${ended},"usage":${JSON.stringify(encodeUsage(usage))}`),
          sse('message_stop', ''),
        ].join('');
      }
      case 'error':
        // No message_stop: no client may take what came before for a whole answer.
        return `event: error\ndata: ${encodeMessagesError(event.error)}\n\n`;
      default:
        return '';
    }
  }

  function start(): void {
    isStarted = true;
    encoder.keepAlive = ping;
  }

  const encoder = {
    // A ping is part of the dialect, but not before message_start. No getter: V8 would give each of these objects a shape of
    // its own, among old ones, which holds the answer until those are collected.
    keepAlive: ': keep-alive\n\n',
    encode(events: readonly TurnEvent[]): string {
      for (const event of events) {
        if (event.type === 'relayed') {
          start();
          isRelayed = true;
          text += event.text;
          continue;
        }
        if (isRelayed && event.type !== 'error') continue;
        if (!isStarted && !beginsNothing(event)) {
          start();
          text += messageStart(
            identity,
            usage ?? { inputTokens: options.estimatedInputTokens, outputTokens: 0 },
          );
        }
        inTurn.push(event);
      }
      const encoded = text;
      text = '';
      return encoded;
    },
  };
  return encoder;
}

function messageStart(identity: AnswerIdentity, usage: Usage): string {
  const message = {
    id: identity.id,
    type: 'message',
    role: 'assistant',
    model: identity.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    container: null,
    usage: { ...encodeUsage(usage), output_tokens: 0 },
  };
  return sse('message_start', `"message":${JSON.stringify(message)}`);
}

/** One event; `fields` are further JSON members. */
function sse(type: string, fields: string): string {
  return `event: ${type}\ndata: {"type":"${type}"${fields === '' ? '' : `,${fields}`}}\n\n`;
}
