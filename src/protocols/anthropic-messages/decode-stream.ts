import type { FinishReason, TurnEnd, Usage } from '../../core/turn.ts';
import { isJsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { AnswerDecoder } from '../shared/answer-stream.ts';
import { errorIn } from '../shared/failed-answer.ts';
import { citationIn, countIn, textIn } from '../shared/read-answer.ts';
import { classifyNamed } from './classify-failure.ts';
import { type ThinkingBlock, type ThinkingPlace, thinkingProof } from './thinking-proof.ts';

/** A block that has begun and not ended. */
interface OpenBlock {
  readonly type: string;
  /** Of a call. */
  readonly call?: number;
  /** What a call began with; what follows replaces it. */
  readonly input?: unknown;
  hasPieces: boolean;
  thinking: string;
  signature: string;
  /** Of redacted thinking. */
  readonly data: string;
}

export class MessagesDecoder extends AnswerDecoder {
  readonly #model: string;
  readonly #open = new Map<unknown, OpenBlock>();
  readonly #thinking: ThinkingBlock[] = [];
  readonly #places: ThinkingPlace[] = [];
  /** Characters of the text so far. */
  #said = 0;
  #firstUsage: unknown;
  #end: Partial<TurnEnd> = {};

  constructor(model: string, toolNames: ReadonlyMap<string, string>) {
    super('toolu_', toolNames);
    this.#model = model;
  }

  protected override read(data: string): void {
    // A malformed event within a sound stream is passed over, and so is one of a type that is not known.
    const event = parseJsonObject(data);
    switch (event?.['type']) {
      case 'message_start':
        this.#begin(event['message']);
        break;
      case 'content_block_start':
        this.#beginBlock(event['index'], event['content_block']);
        break;
      case 'content_block_delta':
        this.#readDelta(this.#open.get(event['index']), event['delta']);
        break;
      case 'content_block_stop':
        this.#endBlock(event['index']);
        break;
      case 'message_delta':
        this.#readEnd(event['delta'], event['usage']);
        break;
      case 'message_stop':
        this.#stop();
        break;
      case 'error':
        this.answer.fail(classifyNamed(errorIn(event) ?? {}));
        break;
      default:
    }
  }

  #begin(message: unknown): void {
    const { id, usage } = isJsonObject(message) ? message : {};
    this.start(id);
    this.#firstUsage = usage;
    this.#addUsage();
  }

  #addUsage(later?: unknown): void {
    const usage = readUsage(this.#firstUsage, later);
    if (usage) this.answer.add({ type: 'usage', usage });
  }

  #beginBlock(index: unknown, block: unknown): void {
    if (!isJsonObject(block)) return;
    const { type, input } = block;
    const isCall = type === 'tool_use';
    const open: OpenBlock = {
      type: textIn(type),
      ...(isCall && { call: this.beginCall(this.callId(textIn(block['id'])), textIn(block['name'])), input }),
      hasPieces: false,
      thinking: '',
      signature: textIn(block['signature']),
      data: textIn(block['data']),
    };
    this.#open.set(index, open);
    if (type === 'text') this.#say(textIn(block['text']));
    else if (type === 'thinking') this.#think(open, textIn(block['thinking']));
  }

  #readDelta(block: OpenBlock | undefined, delta: unknown): void {
    if (!block || !isJsonObject(delta)) return;
    switch (delta['type']) {
      case 'text_delta':
        if (block.type === 'text') this.#say(textIn(delta['text']));
        break;
      case 'thinking_delta':
        this.#think(block, textIn(delta['thinking']));
        break;
      case 'signature_delta':
        block.signature += textIn(delta['signature']);
        break;
      case 'input_json_delta':
        if (block.call !== undefined) this.#argue(block.call, block, textIn(delta['partial_json']));
        break;
      case 'citations_delta': {
        const citation = citationIn(delta['citation']);
        if (citation) this.answer.add({ type: 'citation', citation });
        break;
      }
      default:
    }
  }

  #say(text: string): void {
    this.#said += text.length;
    if (text !== '') this.answer.add({ type: 'text-delta', text });
  }

  #think(block: OpenBlock, text: string): void {
    block.thinking += text;
    if (text !== '') this.answer.add({ type: 'reasoning-delta', text });
  }

  #argue(index: number, block: OpenBlock, piece: string): void {
    if (piece === '') return;
    block.hasPieces = true;
    this.answer.add({ type: 'tool-call-delta', index, arguments: piece });
  }

  #endBlock(index: unknown): void {
    const block = this.#open.get(index);
    if (!block) return;
    this.#open.delete(index);
    const { type, call, thinking, signature, data } = block;
    if (call !== undefined) {
      if (!block.hasPieces)
        this.#argue(call, block, isJsonObject(block.input) ? JSON.stringify(block.input) : '{}');
      this.answer.add({ type: 'tool-call-end', index: call });
    } else if (type === 'thinking' && signature !== '') this.#prove({ type, thinking, signature });
    else if (type === 'redacted_thinking') this.#prove({ type, data });
  }

  #prove(block: ThinkingBlock): void {
    this.#thinking.push(block);
    this.#places.push([this.#said, this.calls]);
    const proof = thinkingProof(this.#model, this.#thinking, this.#places);
    this.answer.add({ type: 'reasoning-proof', proof });
  }

  #readEnd(delta: unknown, usage: unknown): void {
    this.#addUsage(usage);
    if (!isJsonObject(delta)) return;
    const { stop_reason: upstreamReason, stop_sequence: stopSequence, stop_details: details } = delta;
    const reason = finishOf(upstreamReason);
    if (reason === undefined) return;
    this.#end = {
      reason,
      upstreamReason: textIn(upstreamReason),
      ...(upstreamReason === 'stop_sequence' && typeof stopSequence === 'string' && { stopSequence }),
    };
    const said = isJsonObject(details) ? textIn(details['explanation']) : '';
    if (reason === 'content-filter' && said !== '') this.answer.add({ type: 'refusal-delta', text: said });
  }

  #stop(): void {
    for (const index of [...this.#open.keys()]) this.#endBlock(index);
    this.finish({ reason: 'stop', ...this.#end });
  }
}

/** The figures of an answer. Those of a stream come in two events, the later of which counts; undefined where there are none. */
export function readUsage(first: unknown, later?: unknown): Usage | undefined {
  const figure = (name: string) => countIn(later, name) ?? countIn(first, name);
  const input = figure('input_tokens');
  if (input === undefined) return undefined;
  const read = figure('cache_read_input_tokens');
  const written = figure('cache_creation_input_tokens');
  const thinking = thinkingIn(later) ?? thinkingIn(first);
  return {
    // Tokens read from the cache and written to it are counted separately in this dialect.
    inputTokens: input + (read ?? 0) + (written ?? 0),
    outputTokens: figure('output_tokens') ?? 0,
    ...(read !== undefined && { cachedInputTokens: read }),
    ...(written !== undefined && { cacheWriteTokens: written }),
    ...(thinking !== undefined && { reasoningTokens: thinking }),
  };
}

function thinkingIn(usage: unknown): number | undefined {
  return isJsonObject(usage) ? countIn(usage['output_tokens_details'], 'thinking_tokens') : undefined;
}

const finishReasons: Readonly<Record<string, FinishReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  // To continue, the client sends the answer back.
  pause_turn: 'length',
  tool_use: 'tool-calls',
  refusal: 'content-filter',
};

/** Undefined where none is given. */
export function finishOf(stopReason: unknown): FinishReason | undefined {
  if (typeof stopReason !== 'string' || stopReason === '') return undefined;
  return finishReasons[stopReason] ?? 'stop';
}
