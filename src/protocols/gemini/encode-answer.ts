import { createParser, type EventSourceParser } from 'eventsource-parser';
import type { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, CollectedTurn, StreamEncoder } from '../../core/protocol.ts';
import type { Citation, FinishReason, ToolCall, TurnEvent, Usage } from '../../core/turn.ts';
import { parseJson } from '../../lib/parse-json.ts';
import { argumentsObject } from '../shared/calls.ts';
import type { GeminiOptions } from './decode-request.ts';
import { signatureOf, signatureOfCall } from './thought-signatures.ts';

/** A part of an answer. */
export interface SaidPart {
  readonly text?: string;
  readonly thought?: true;
  readonly functionCall?: object;
  readonly thoughtSignature?: string;
}

const finishReasons: Record<FinishReason, string> = {
  stop: 'STOP',
  length: 'MAX_TOKENS',
  'tool-calls': 'STOP',
  'content-filter': 'SAFETY',
};

/** The dialect has no other word for a refusal, and its text would pass for an answer. */
function finishReasonOf(reason: FinishReason, refusal: string): string {
  return finishReasons[refusal === '' ? reason : 'content-filter'];
}

const details = 'type.googleapis.com/google.rpc';

export function encodeGeminiError(error: AppError): string {
  const { message, param, retryAfterSeconds } = error;
  const known = [
    ...(param === undefined
      ? []
      : [{ '@type': `${details}.BadRequest`, fieldViolations: [{ field: param, description: message }] }]),
    ...(retryAfterSeconds === undefined
      ? []
      : [{ '@type': `${details}.RetryInfo`, retryDelay: `${retryAfterSeconds}s` }]),
  ];
  const { googleStatus: code, googleWord: status } = error;
  return JSON.stringify({ error: { code, message, status, ...(known.length > 0 && { details: known }) } });
}

export function encodeGeminiAnswer(
  identity: AnswerIdentity,
  answer: CollectedTurn,
  options: GeminiOptions,
): string {
  if (answer.relayed !== undefined) return answer.relayed;
  if (answer.finishReason === 'content-filter' && partsOf(answer, options).length === 0) {
    return JSON.stringify({ ...blockedPrompt, ...tailOf(identity, answer.usage) });
  }
  return encodeGeminiAnswers(identity, [answer], options, answer.usage);
}

/** A filter that let nothing through, as Google reports it: without a candidate. */
const blockedPrompt = { promptFeedback: { blockReason: 'SAFETY' } } as const;

/** Several answers to one request; `usage` is that of all. */
export function encodeGeminiAnswers(
  identity: AnswerIdentity,
  answers: readonly CollectedTurn[],
  options: GeminiOptions,
  usage: Usage | undefined,
): string {
  const candidates = answers.map((answer, index) => ({
    content: { parts: partsOf(answer, options), role: 'model' },
    finishReason: finishReasonOf(answer.finishReason, answer.refusal ?? ''),
    index,
    ...groundingOf(answer.citations ?? []),
  }));
  return JSON.stringify({ candidates, ...tailOf(identity, usage) });
}

function partsOf(
  { text, reasoning, reasoningProof: proof, toolCalls, refusal = '', finishReason }: CollectedTurn,
  { showsThoughts }: GeminiOptions,
): SaidPart[] {
  const said = text + refusal;
  const parts: SaidPart[] = [
    ...(said === '' ? [] : [{ text: said }]),
    ...wholeCalls(toolCalls, finishReason).map((call) => {
      const thoughtSignature = proof && signatureOfCall(proof, call.id);
      return {
        functionCall: functionCallOf(call),
        ...(thoughtSignature !== undefined && { thoughtSignature }),
      };
    }),
  ];
  const thoughts: SaidPart[] = showsThoughts && reasoning !== '' ? [{ text: reasoning, thought: true }] : [];
  if (!proof || parts.some(({ thoughtSignature }) => thoughtSignature !== undefined))
    return [...thoughts, ...parts];
  // One of Google's of which no more is known belongs to the first call, where there is one.
  const place =
    proof.protocol === 'gemini'
      ? Math.max(
          parts.findIndex((part) => part.functionCall),
          0,
        )
      : 0;
  const signed = { ...(parts[place] ?? { text: '' }), thoughtSignature: signatureOf(reasoning, proof) };
  return [...thoughts, ...parts.slice(0, place), signed, ...parts.slice(place + 1)];
}

/** Calls have no other form than the whole one: what a limit or a filter cut is not to be run. */
function wholeCalls<Call extends ToolCall>(calls: readonly Call[], reason: FinishReason): readonly Call[] {
  const isCut = reason === 'length' || reason === 'content-filter';
  return isCut ? calls.filter((call) => parseJson(call.arguments) !== undefined) : calls;
}

function functionCallOf({ id, name, arguments: text }: ToolCall): object {
  return { id, name, args: argumentsObject(text) };
}

/** What the text was found by. */
function groundingOf(citations: readonly Citation[]): object {
  if (citations.length === 0) return {};
  const chunks = citations.map(({ url: uri, title = uri }) => ({ web: { uri, title } }));
  return { groundingMetadata: { groundingChunks: chunks } };
}

/** What every response ends with. */
function tailOf({ id, model }: AnswerIdentity, usage: Usage | undefined) {
  return {
    ...(usage && { usageMetadata: encodeUsage(usage) }),
    modelVersion: model,
    responseId: id,
  };
}

function encodeUsage({ inputTokens, outputTokens, cachedInputTokens, reasoningTokens = 0 }: Usage) {
  return {
    promptTokenCount: inputTokens,
    // Those of the thoughts are counted apart in this dialect.
    candidatesTokenCount: Math.max(0, outputTokens - reasoningTokens),
    totalTokenCount: inputTokens + outputTokens,
    ...(cachedInputTokens ? { cachedContentTokenCount: cachedInputTokens } : {}),
    ...(reasoningTokens > 0 ? { thoughtsTokenCount: reasoningTokens } : {}),
  };
}

/** How the responses of one stream follow one another: as server-sent events, or as the elements of a JSON array. */
export interface StreamFrames {
  frame(response: string): string;
  /** What an upstream of this dialect sent as server-sent events. */
  relay(events: string): string;
  /** After the last response. */
  end(): string;
}

export const eventFrames: StreamFrames = {
  frame: (response) => `data: ${response}\n\n`,
  relay: (events) => events,
  end: () => '',
};

/** For one answer: its choices share the array. */
export class ArrayFrames implements StreamFrames {
  #isBegun = false;
  #relayed = '';
  readonly #parser: EventSourceParser = createParser({
    onEvent: ({ data }) => {
      this.#relayed += this.frame(data);
    },
  });

  frame(response: string): string {
    const before = this.#isBegun ? ',\n' : '[';
    this.#isBegun = true;
    return before + response;
  }

  relay(events: string): string {
    this.#parser.feed(events);
    const framed = this.#relayed;
    this.#relayed = '';
    return framed;
  }

  end(): string {
    return this.#isBegun ? ']\n' : '[]\n';
  }
}

/** What comes after the last response of the last choice. */
export function encodeGeminiEnd(
  identity: AnswerIdentity,
  usage: Usage | undefined,
  frames: StreamFrames,
): string {
  return (usage ? frames.frame(JSON.stringify(tailOf(identity, usage))) : '') + frames.end();
}

/**
 * One response an event; calls are whole. With a `choice` it is one of several, and usage and the stream's end are left to
 * `encodeGeminiEnd`.
 */
export function createGeminiStreamEncoder(
  identity: AnswerIdentity,
  { showsThoughts }: GeminiOptions,
  frames: StreamFrames,
  choice?: number,
): StreamEncoder {
  const index = choice ?? 0;
  const tail = JSON.stringify(tailOf(identity, undefined)).slice(1);
  const open = '{"candidates":[{"content":{"parts":[';
  const close = `],"role":"model"},"index":${index}}],${tail}`;
  /** Those that were not shown yet: each waits until it is whole, and those before it are. */
  const calls = new Map<number, { id: string; name: string; arguments: string; isWhole: boolean }>();
  const citations: Citation[] = [];
  /** The upstream's own stream is passed on. */
  let isRelayed = false;
  let isBegun = false;
  let refusal = '';
  /** Since the last proof. */
  let thoughts = '';
  /** Goes with the next part. */
  let signature: string | undefined;
  let usage: Usage | undefined;

  const signed = (part: SaidPart): SaidPart => {
    if (signature === undefined) return part;
    const thoughtSignature = signature;
    signature = undefined;
    return { ...part, thoughtSignature };
  };
  const callPart = (call: ToolCall): SaidPart => signed({ functionCall: functionCallOf(call) });
  const say = (part: SaidPart): string => {
    isBegun = true;
    return frames.frame(open + JSON.stringify(part) + close);
  };

  function endCall(ended: number): string {
    const call = calls.get(ended);
    // How the answer ends tells whether a limit has cut it.
    if (call) call.isWhole = parseJson(call.arguments) !== undefined;
    let text = '';
    for (const [waiting, next] of calls) {
      if (!next.isWhole) break;
      calls.delete(waiting);
      text += say(callPart(next));
    }
    return text;
  }

  function finish({ reason }: Extract<TurnEvent, { type: 'finish' }>): string {
    const parts = wholeCalls([...calls.values()], reason).map(callPart);
    if (signature !== undefined) parts.push(signed({ text: '' }));
    const ending = tailOf(identity, choice === undefined ? usage : undefined);
    const isBlocked = reason === 'content-filter' && !isBegun && parts.length === 0 && choice === undefined;
    const candidate = {
      content: { parts: parts.length > 0 ? parts : [{ text: '' }], role: 'model' },
      finishReason: finishReasonOf(reason, refusal),
      index,
      ...groundingOf(citations),
    };
    const last = isBlocked ? { ...blockedPrompt, ...ending } : { candidates: [candidate], ...ending };
    return frames.frame(JSON.stringify(last)) + (choice === undefined ? frames.end() : '');
  }

  function encodeOne(event: TurnEvent): string {
    switch (event.type) {
      case 'text-delta':
        return say(signed({ text: event.text }));
      case 'refusal-delta':
        refusal += event.text;
        return say(signed({ text: event.text }));
      case 'reasoning-delta':
        thoughts += event.text;
        return showsThoughts ? say({ text: event.text, thought: true }) : '';
      case 'reasoning-proof':
        signature = signatureOf(thoughts, event.proof);
        thoughts = '';
        return '';
      case 'tool-call-start':
        calls.set(event.index, { id: event.id, name: event.name, arguments: '', isWhole: false });
        return '';
      case 'tool-call-delta': {
        const call = calls.get(event.index);
        if (call) call.arguments += event.arguments;
        return '';
      }
      case 'tool-call-end':
        return endCall(event.index);
      case 'citation':
        citations.push(event.citation);
        return '';
      case 'usage':
        usage = event.usage;
        return '';
      case 'finish':
        return finish(event);
      case 'error':
        // No finishReason: no client may take what came before for a whole answer.
        return frames.frame(encodeGeminiError(event.error)) + frames.end();
      default:
        return '';
    }
  }

  return {
    keepAlive: '\n',
    encode(events) {
      let text = '';
      for (const event of events) {
        if (event.type === 'relayed') {
          isRelayed = true;
          text += frames.relay(event.text);
        } else if (!isRelayed || event.type === 'error') {
          text += encodeOne(event);
        } else if (event.type === 'finish') text += frames.end();
      }
      return text;
    },
  };
}
