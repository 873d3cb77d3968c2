import type { AnswerIdentity, CollectedTurn, StreamEncoder } from '../../core/protocol.ts';
import {
  beginsNothing,
  type Citation,
  type FinishReason,
  type ReasoningProof,
  type TurnEvent,
  type Usage,
} from '../../core/turn.ts';
import { encodeOpenaiError } from '../shared/error-answers.ts';
import { customInput } from '../shared/tools.ts';
import type { ChatOptions } from './decode-request.ts';
import { carriedDetails } from './reasoning-details.ts';

const finishReasons: Record<FinishReason, string> = {
  stop: 'stop',
  length: 'length',
  'tool-calls': 'tool_calls',
  'content-filter': 'content_filter',
};

export function encodeChatAnswer(
  identity: AnswerIdentity,
  answer: CollectedTurn,
  options: ChatOptions,
): string {
  return answer.relayed ?? encodeChatChoices(identity, [answer], options, answer.usage);
}

/** Several answers to one request; `usage` is that of all. */
export function encodeChatChoices(
  identity: AnswerIdentity,
  answers: readonly CollectedTurn[],
  options: ChatOptions,
  usage: Usage | undefined,
): string {
  return JSON.stringify({
    id: identity.id,
    object: 'chat.completion',
    created: identity.created,
    model: identity.model,
    choices: answers.map((answer, index) => encodeChoice(answer, index, options)),
    ...(usage ? { usage: encodeUsage(usage) } : {}),
    ...(identity.systemFingerprint === undefined ? {} : { system_fingerprint: identity.systemFingerprint }),
    ...answers.find(({ metadata }) => metadata)?.metadata?.['openai'],
  });
}

function encodeChoice(answer: CollectedTurn, index: number, options: ChatOptions) {
  const hasCalls = answer.toolCalls.length > 0;
  const { refusal = null, citations = [] } = answer;
  return {
    index,
    message: {
      role: 'assistant',
      content: (hasCalls || refusal !== null) && answer.text === '' ? null : answer.text,
      refusal,
      annotations: citations.map(encodeCitation),
      ...(answer.reasoning === '' ? {} : { reasoning_content: answer.reasoning }),
      ...(answer.reasoningProof && { reasoning_details: carriedDetails(answer.reasoningProof) }),
      ...(hasCalls ? { tool_calls: answer.toolCalls.map((call) => encodeCall(call, options)) } : {}),
    },
    logprobs: null,
    finish_reason: finishReasons[answer.finishReason],
  };
}

function encodeCall({ id, name, arguments: text }: CollectedTurn['toolCalls'][number], options: ChatOptions) {
  return options.customTools.has(name)
    ? { id, type: 'custom', custom: { name, input: customInput(text) } }
    : { id, type: 'function', function: { name, arguments: text } };
}

function encodeCitation({ url, title = url, start = 0, end = 0 }: Citation): object {
  return { type: 'url_citation', url_citation: { url, title, start_index: start, end_index: end } };
}

function encodeUsage(usage: Usage) {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
    prompt_tokens_details: {
      cached_tokens: usage.cachedInputTokens ?? 0,
      ...(usage.cacheWriteTokens === undefined ? {} : { cache_write_tokens: usage.cacheWriteTokens }),
      audio_tokens: 0,
    },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0, audio_tokens: 0 },
  };
}

function chunkHead(identity: AnswerIdentity): string {
  const fingerprint =
    identity.systemFingerprint === undefined
      ? ''
      : `,"system_fingerprint":${JSON.stringify(identity.systemFingerprint)}`;
  // Joined, it is one text; put together it would be a tree of pieces, held by each stream and gone through for each chunk.
  return [
    `data: {"id":${JSON.stringify(identity.id)},"object":"chat.completion.chunk","created":${identity.created},"model":`,
    `${JSON.stringify(identity.model)}${fingerprint},"choices":[`,
  ].join('');
}

/** What comes after the last chunk of the last choice. */
export function encodeChatEnd(
  identity: AnswerIdentity,
  options: ChatOptions,
  usage: Usage | undefined,
): string {
  if (!options.includeUsage || !usage) return 'data: [DONE]\n\n';
  return `${chunkHead(identity)}],"usage":${JSON.stringify(encodeUsage(usage))}}\n\ndata: [DONE]\n\n`;
}

/**
 * One chunk an event: what stays the same in every chunk is built once. With a `choice` it is one of several, and the
 * stream's end is left to `encodeChatEnd`.
 */
export function createChatStreamEncoder(
  identity: AnswerIdentity,
  options: ChatOptions,
  choice?: number,
): StreamEncoder {
  const head = chunkHead(identity);
  const usageNull = options.includeUsage ? ',"usage":null' : '';
  const open = `${head}{"index":${choice ?? 0},"delta":`;
  const close = `,"logprobs":null,"finish_reason":null}]${usageNull}}\n\n`;
  const textOpen = `${open}{"content":`;
  const textClose = `}${close}`;
  /** The input of a custom tool stands inside the arguments: it can be shown once they are whole. */
  const inputs = options.customTools.size === 0 ? undefined : new Map<number, string>();
  let isStarted = false;
  /** The upstream's own stream is passed on, from its first event to its end mark. */
  let isRelayed = false;
  let usage: Usage | undefined;
  let proof: ReasoningProof | undefined;
  /** What an upstream of the dialect's family said beside its answer. */
  let metadata = '';

  function callStart({ index, id, name }: Extract<TurnEvent, { type: 'tool-call-start' }>): string {
    const head = `${open}{"tool_calls":[{"index":${index},"id":${JSON.stringify(id)}`;
    if (!options.customTools.has(name)) {
      return `${head},"type":"function","function":{"name":${JSON.stringify(name)},"arguments":""}}]}${close}`;
    }
    inputs?.set(index, '');
    return `${head},"type":"custom","custom":{"name":${JSON.stringify(name)},"input":""}}]}${close}`;
  }

  function callDelta(index: number, text: string): string {
    const sofar = inputs?.get(index);
    if (sofar === undefined) {
      return `${open}{"tool_calls":[{"index":${index},"function":{"arguments":${JSON.stringify(text)}}}]}${close}`;
    }
    inputs?.set(index, sofar + text);
    return '';
  }

  function callEnd(index: number): string {
    const whole = inputs?.get(index);
    if (whole === undefined) return '';
    inputs?.delete(index);
    const input = JSON.stringify(customInput(whole));
    return `${open}{"tool_calls":[{"index":${index},"custom":{"input":${input}}}]}${close}`;
  }

  function carried(): string {
    return proof ? `${open}{"reasoning_details":${JSON.stringify(carriedDetails(proof))}}${close}` : '';
  }

  function encodeOne(event: TurnEvent): string {
    switch (event.type) {
      case 'text-delta':
        return textOpen + JSON.stringify(event.text) + textClose;
      case 'refusal-delta':
        return `${open}{"refusal":${JSON.stringify(event.text)}}${close}`;
      case 'citation':
        return `${open}{"annotations":[${JSON.stringify(encodeCitation(event.citation))}]}${close}`;
      case 'reasoning-delta':
        return `${open}{"reasoning_content":${JSON.stringify(event.text)}}${close}`;
      case 'reasoning-proof':
        // The last one holds all before it.
        proof = event.proof;
        return '';
      case 'tool-call-start':
        return callStart(event);
      case 'tool-call-delta':
        return callDelta(event.index, event.arguments);
      case 'tool-call-end':
        return callEnd(event.index);
      case 'usage':
        usage = event.usage;
        return '';
      case 'metadata':
        metadata = Object.entries(event.metadata['openai'] ?? {})
          .map(([name, value]) => `,"${name}":${JSON.stringify(value)}`)
          .join('');
        return '';
      case 'finish': {
        const reason = finishReasons[event.reason];
        const last = `${open}{},"logprobs":null,"finish_reason":"${reason}"}]${metadata}${usageNull}}\n\n`;
        const end = choice === undefined ? encodeChatEnd(identity, options, usage) : '';
        return `${[...(inputs?.keys() ?? [])].map(callEnd).join('')}${carried()}${last}${end}`;
      }
      case 'error':
        // The stream ends here without [DONE]: no client may take what came before for a whole answer.
        return `data: ${encodeOpenaiError(event.error)}\n\n`;
      default:
        return '';
    }
  }

  return {
    keepAlive: ': keep-alive\n\n',
    encode(events) {
      let text = '';
      for (const event of events) {
        if (event.type === 'relayed') {
          isRelayed = true;
          text += event.text;
          continue;
        }
        if (isRelayed && event.type !== 'error') continue;
        if (!isStarted && !beginsNothing(event)) {
          isStarted = true;
          text += `${open}{"role":"assistant","content":""}${close}`;
        }
        text += encodeOne(event);
      }
      return text;
    },
  };
}
