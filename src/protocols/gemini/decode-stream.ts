import { AppError } from '../../core/errors.ts';
import type { Citation, FinishReason, TurnEnd, TurnEvent, Usage } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJson } from '../../lib/parse-json.ts';
import { AnswerDecoder } from '../shared/answer-stream.ts';
import { noEnd } from '../shared/failed-answer.ts';
import { countIn, objectsIn, textIn } from '../shared/read-answer.ts';
import { classifyStatus, errorIn } from './classify-failure.ts';
import { madeIdPrefix } from './encode-contents.ts';
import { proofOf, type SignedPart } from './thought-signatures.ts';

const finishReasons: Readonly<Record<string, FinishReason>> = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  SAFETY: 'content-filter',
  RECITATION: 'content-filter',
  BLOCKLIST: 'content-filter',
  PROHIBITED_CONTENT: 'content-filter',
  SPII: 'content-filter',
  LANGUAGE: 'content-filter',
  IMAGE_SAFETY: 'content-filter',
  IMAGE_PROHIBITED_CONTENT: 'content-filter',
  IMAGE_RECITATION: 'content-filter',
};

/**
 * Why a candidate ended; undefined while it goes on. An error: not by the model's own will, as with calls that cannot be read
 * (MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL), OTHER, or a word that is not known.
 */
export function finishOf({
  finishReason: given,
  finishMessage,
}: JsonObject): FinishReason | AppError | undefined {
  if (typeof given !== 'string' || given === '' || given === 'FINISH_REASON_UNSPECIFIED') return undefined;
  return finishReasons[given] ?? brokenOff(given, finishMessage);
}

/** The word for a prompt that was not answered at all. */
export function blockReasonIn(chunk: JsonObject): string | undefined {
  const { promptFeedback } = chunk;
  const reason = isJsonObject(promptFeedback) ? promptFeedback['blockReason'] : undefined;
  return typeof reason === 'string' && reason !== 'BLOCKED_REASON_UNSPECIFIED' ? reason : undefined;
}

/** The model mostly does better when it is asked again. */
function brokenOff(reason: string, said: unknown): AppError {
  const message = `The model broke its answer off (${reason.slice(0, 64)}). Try again.`;
  return new AppError('upstream_protocol', message, { cause: new Error(`${reason}: ${textIn(said)}`) });
}

const longestError = 64 * 1024;

export class GeminiDecoder extends AnswerDecoder {
  readonly #bytes = new TextDecoder();
  readonly #signed: SignedPart[] = [];
  /** What came behind the last event. */
  #rest = '';
  #text = '';
  readonly #model: string;
  #usage: Usage | undefined;
  #end: TurnEnd | undefined;

  constructor(model: string, toolNames: ReadonlyMap<string, string>) {
    super(madeIdPrefix, toolNames);
    this.#model = model;
  }

  override push(bytes: Uint8Array): readonly TurnEvent[] {
    const text = this.#bytes.decode(bytes, { stream: true });
    this.answer.feed(text, bytes.length);
    this.#keepRest(text);
    return this.answer.take();
  }

  /** Under load Google breaks a stream off with an error that is no event. */
  protected override atEnd(): void {
    const error = errorIn(parseJson(this.#rest));
    if (error) this.answer.fail(classifyStatus(error));
    else this.#stop();
  }

  get isWhole(): boolean {
    return this.#end !== undefined;
  }

  #keepRest(text: string): void {
    const rest = this.#rest + text;
    const end = Math.max(rest.lastIndexOf('\n\n'), rest.lastIndexOf('\n\r\n'));
    if (end !== -1) this.#rest = rest.slice(end).trimStart();
    else this.#rest = rest.length > longestError ? rest.slice(-3) : rest;
  }

  protected override read(data: string): void {
    const value = parseJson(data);
    const { answer } = this;
    const error = errorIn(value);
    if (error) {
      answer.fail(classifyStatus(error));
      return;
    }
    // A malformed chunk within a sound stream is passed over.
    if (!isJsonObject(value)) return;
    this.start(value['responseId']);
    this.#readUsage(value['usageMetadata']);
    this.#readCandidate(candidatesIn(value)[0]);
    if (answer.isOver) return;
    const blocked = blockReasonIn(value);
    if (blocked !== undefined) this.#end = { reason: 'content-filter', upstreamReason: blocked };
    // Usage comes with the last chunk, or behind it.
    if (this.#end !== undefined && value['usageMetadata'] !== undefined) this.#stop();
  }

  /** It grows with every chunk. */
  #readUsage(value: unknown): void {
    const usage = readUsage(value);
    if (!usage || JSON.stringify(usage) === JSON.stringify(this.#usage)) return;
    this.#usage = usage;
    this.answer.add({ type: 'usage', usage });
  }

  #readCandidate(candidate: JsonObject | undefined): void {
    if (!candidate) return;
    for (const part of partsIn(candidate)) this.#readPart(part);
    const { groundingMetadata } = candidate;
    if (groundingMetadata !== undefined) this.answer.charge(this.#text.length);
    for (const citation of citationsIn(groundingMetadata, this.#text)) {
      this.answer.add({ type: 'citation', citation });
    }
    const finished = finishOf(candidate);
    if (finished instanceof AppError) this.answer.fail(finished);
    else if (finished !== undefined) {
      this.#end = { reason: finished, upstreamReason: String(candidate['finishReason']) };
    }
  }

  #readPart({ text, thought, thoughtSignature, functionCall: call }: JsonObject): void {
    const signature = textIn(thoughtSignature);
    if (isJsonObject(call)) {
      this.#readCall(call, signature);
      return;
    }
    if (typeof text !== 'string') return;
    if (thought === true) {
      if (text !== '') this.answer.add({ type: 'reasoning-delta', text });
      this.#prove(signature, { type: 'thought' });
      return;
    }
    const from = this.#text.length;
    this.#text += text;
    if (text !== '') this.answer.add({ type: 'text-delta', text });
    this.#prove(signature, { type: 'text', from, to: this.#text.length });
  }

  #prove(signature: string, part: SignedPart['part']): void {
    if (signature === '') return;
    this.#signed.push({ signature, part });
    this.answer.add({ type: 'reasoning-proof', proof: proofOf(this.#model, this.#signed) });
  }

  /** Calls come whole. */
  #readCall({ id: given, name: sent, args }: JsonObject, signature: string): void {
    const id = this.callId(textIn(given));
    this.#prove(signature, { type: 'call', id });
    const index = this.beginCall(id, textIn(sent));
    const { answer } = this;
    answer.add({ type: 'tool-call-delta', index, arguments: JSON.stringify(isJsonObject(args) ? args : {}) });
    answer.add({ type: 'tool-call-end', index });
  }

  /** Without a reason nothing says that the answer is whole. */
  #stop(): void {
    if (this.#end === undefined) this.answer.fail(noEnd());
    else this.finish(this.#end);
  }
}

export function candidatesIn({ candidates }: JsonObject): JsonObject[] {
  return objectsIn(candidates);
}

export function partsIn({ content }: JsonObject): JsonObject[] {
  return isJsonObject(content) ? objectsIn(content['parts']) : [];
}

/** The figures of an answer so far; undefined where there are none that can be read. */
export function readUsage(value: unknown): Usage | undefined {
  if (!isJsonObject(value)) return undefined;
  const prompt = countIn(value, 'promptTokenCount');
  if (prompt === undefined) return undefined;
  const cached = countIn(value, 'cachedContentTokenCount');
  const thoughts = countIn(value, 'thoughtsTokenCount');
  return {
    inputTokens: prompt + (countIn(value, 'toolUsePromptTokenCount') ?? 0),
    outputTokens: (countIn(value, 'candidatesTokenCount') ?? 0) + (thoughts ?? 0),
    ...(cached !== undefined && { cachedInputTokens: cached }),
    ...(thoughts !== undefined && { reasoningTokens: thoughts }),
  };
}

/** The sources in `groundingMetadata`, with the piece of the text that each supports. Google counts bytes. */
export function citationsIn(metadata: unknown, text: string): Citation[] {
  if (!isJsonObject(metadata)) return [];
  const sources = objectsIn(metadata['groundingChunks']).map(sourceOf);
  const supports = objectsIn(metadata['groundingSupports']);
  const segments = supports.map(({ segment }) => {
    const { startIndex = 0, endIndex } = isJsonObject(segment) ? segment : {};
    return { startIndex, endIndex };
  });
  const characters = charactersUpTo(
    segments.flatMap(({ startIndex, endIndex }) => [startIndex, endIndex]),
    text,
  );
  const cited = supports.flatMap(({ groundingChunkIndices }, at) => {
    const start = characters.get(segments[at]?.startIndex);
    const end = characters.get(segments[at]?.endIndex);
    const indices: unknown[] = Array.isArray(groundingChunkIndices) ? groundingChunkIndices : [];
    return indices.flatMap((index) => {
      const source = typeof index === 'number' ? sources[index] : undefined;
      if (!source) return [];
      return [{ ...source, ...(start !== undefined && end !== undefined && { start, end }) }];
    });
  });
  // Without supports the sources stand for the whole text.
  return supports.length > 0 ? cited : sources.filter((source) => source !== undefined);
}

/** How many characters of the text are in its first so many bytes, for each number among `counts`: it is gone through once for all. */
function charactersUpTo(counts: readonly unknown[], text: string): ReadonlyMap<unknown, number> {
  const found = new Map<unknown, number>();
  const isCount = (count: unknown): count is number => typeof count === 'number' && count >= 0;
  const sorted = [...new Set(counts.filter(isCount))].toSorted((a, b) => a - b);
  if (sorted.length === 0) return found;
  const bytes = Buffer.from(text);
  let from = 0;
  let characters = 0;
  for (const count of sorted) {
    // To the end of a character: the next number goes on from there.
    let to = Math.min(Math.floor(count), bytes.length);
    while (to < bytes.length && ((bytes[to] ?? 0) & 0xc0) === 0x80) to += 1;
    characters += bytes.toString('utf8', from, Math.max(from, to)).length;
    from = Math.max(from, to);
    found.set(count, characters);
  }
  return found;
}

function sourceOf({ web }: JsonObject): Citation | undefined {
  if (!isJsonObject(web) || typeof web['uri'] !== 'string' || web['uri'] === '') return undefined;
  const { uri: url, title } = web;
  return { url, ...(typeof title === 'string' && title !== '' && { title }) };
}
