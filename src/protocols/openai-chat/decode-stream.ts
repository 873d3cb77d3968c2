import { AppError } from '../../core/errors.ts';
import type { FinishReason, ReasoningProof, TurnEnd } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { AnswerDecoder } from '../shared/answer-stream.ts';
import { errorIn, mostCalls, noEnd, tooManyCalls } from '../shared/failed-answer.ts';
import { classifyNamed } from '../shared/openai-failure.ts';
import { citationIn, objectsIn, readUsage, textIn } from '../shared/read-answer.ts';
import { contentProof, ReasoningDetails } from './reasoning-details.ts';

const finishReasons: Readonly<Record<string, FinishReason>> = {
  stop: 'stop',
  length: 'length',
  // Mistral's and others' words for the same.
  model_length: 'length',
  max_tokens: 'length',
  tool_calls: 'tool-calls',
  function_call: 'tool-calls',
  content_filter: 'content-filter',
  sensitive: 'content-filter',
  guardrail_intervened: 'content-filter',
};

/** Said of an answer that broke off at the vendor: OpenRouter and Mistral, DeepSeek, vLLM and SGLang, Zhipu, Google. */
const failedReasons: ReadonlySet<string> = new Set([
  'error',
  'insufficient_system_resource',
  'abort',
  'network_error',
  'malformed_function_call',
]);

/** Why a choice ended; undefined while it goes on. An error: it did not end well. */
export function finishOf({ finish_reason: given }: JsonObject): FinishReason | AppError | undefined {
  if (typeof given !== 'string' || given === '') return undefined;
  return failedReasons.has(given) ? brokenOff() : (finishReasons[given] ?? 'stop');
}

interface OpenCall {
  /** As the upstream named it. */
  readonly id: string;
  /** Undefined until its name has come. */
  index: number | undefined;
  /** What came of it before its name. */
  early: string;
  extra?: JsonObject;
  arguments: string;
  isEnded: boolean;
}

export class ChatDecoder extends AnswerDecoder {
  readonly #open: OpenCall[] = [];
  /** The latest by where the upstream's fragments say they belong. */
  readonly #callsByKey = new Map<number, OpenCall>();
  /** What the answer says of itself in words of OpenAI's, whatever the client's dialect. */
  readonly #metadata: Record<string, unknown> = {};
  #end: TurnEnd | undefined;
  #hasUsage = false;
  #details: ReasoningDetails | undefined;
  #hasDetails = false;
  readonly #model: string;
  /** All of the answer's `reasoning_content`. */
  #thought = '';
  #provenLength = 0;

  /** `model`: as the upstream knows it. */
  constructor(model: string, toolNames?: ReadonlyMap<string, string>) {
    super('call_', toolNames);
    this.#model = model;
  }

  get isWhole(): boolean {
    return this.#end !== undefined;
  }

  protected override read(data: string): void {
    if (data.trim() === '[DONE]') {
      this.atEnd();
      return;
    }
    // A malformed chunk within a sound stream is passed over.
    const chunk = parseJsonObject(data);
    if (!chunk) return;
    const { answer } = this;
    const error = errorIn(chunk);
    if (error) {
      answer.fail(classifyNamed(error));
      return;
    }
    this.start(chunk['id']);
    for (const name of metadataFields)
      if (typeof chunk[name] === 'string') this.#metadata[name] = chunk[name];
    this.#readChoice(firstOf(chunk['choices']));
    if (answer.isOver) return;
    const usage = readUsage(chunk['usage']);
    if (usage) {
      this.#hasUsage = true;
      answer.add({ type: 'usage', usage });
    }
    // Usage comes last; some servers keep the connection open without saying that they are done.
    if (this.#end !== undefined && this.#hasUsage) this.atEnd();
  }

  #readChoice(choice: JsonObject | undefined): void {
    const delta = choice?.['delta'] ?? choice?.['message'];
    if (isJsonObject(delta)) this.#readDelta(delta);
    const finished = choice && finishOf(choice);
    if (finished instanceof AppError) this.answer.fail(finished);
    else if (choice && finished !== undefined) {
      // Routers of models have the word of the model's own vendor as well.
      const upstreamReason = textIn(choice['native_finish_reason']) || textIn(choice['finish_reason']);
      this.#end = { reason: finished, upstreamReason };
    }
  }

  #readDelta(delta: JsonObject): void {
    const { answer } = this;
    const details = objectsIn(delta['reasoning_details']);
    if (details.length > 0) {
      this.#details ??= new ReasoningDetails();
      this.#hasDetails = true;
      this.#details.add(details);
    }
    const { said, thought } = readContent(delta['content']);
    const named = textIn(delta['reasoning_content']);
    this.#thought += named;
    const reasoning = named || textIn(delta['reasoning']) || thought;
    if (reasoning) answer.add({ type: 'reasoning-delta', text: reasoning });
    const refusal = textIn(delta['refusal']);
    if (said || refusal) this.#prove(2);
    if (said) answer.add({ type: 'text-delta', text: said });
    if (refusal) answer.add({ type: 'refusal-delta', text: refusal });
    for (const annotation of objectsIn(delta['annotations'])) {
      const citation = annotation['type'] === 'url_citation' && citationIn(annotation['url_citation']);
      if (citation) answer.add({ type: 'citation', citation });
    }
    for (const fragment of objectsIn(delta['tool_calls'])) if (!answer.isOver) this.#readCall(fragment);
  }

  #readCall(fragment: JsonObject): void {
    const { function: called } = fragment;
    const { name: givenName, arguments: given } = isJsonObject(called) ? called : {};
    const name = textIn(givenName);
    const call = this.#callOf(fragment['index'], textIn(fragment['id']), name);
    const piece = isJsonObject(given) ? JSON.stringify(given) : textIn(given);
    const { extra_content: extra } = fragment;
    if (isJsonObject(extra)) call.extra = extra;
    if (call.index === undefined) {
      call.early += piece;
      if (name !== '') this.#begin(call, name);
    } else if (call.isEnded) {
      // The client may run it already.
      if (piece.trim() !== '') this.answer.fail(noEnd());
    } else if (piece !== '') {
      call.arguments += piece;
      this.answer.add({ type: 'tool-call-delta', index: call.index, arguments: piece });
    }
  }

  /**
   * The call a fragment belongs to. Servers that send whole calls may leave the index out, or the id, or give every call the same
   * index.
   */
  #callOf(index: unknown, id: string, name: string): OpenCall {
    const calls = this.#open;
    const key = typeof index === 'number' ? index : undefined;
    const known = key !== undefined ? this.#callsByKey.get(key) : name === '' ? calls.at(-1) : undefined;
    const isAnother = known !== undefined && name !== '' && id !== '' && known.id !== '' && id !== known.id;
    if (known && !isAnother) return known;
    this.#endWhole(calls.at(-1));
    const call = { id, index: undefined, early: '', arguments: '', isEnded: false };
    this.#callsByKey.set(key ?? calls.length, call);
    calls.push(call);
    // Those without a name count, too.
    if (calls.length > mostCalls) this.answer.fail(tooManyCalls());
    return call;
  }

  /** Nothing marks the end of a call before the answer's; where its arguments are whole, clients need not wait for that. */
  #endWhole(call: OpenCall | undefined): void {
    if (call?.index === undefined || !call.arguments.trimEnd().endsWith('}')) return;
    if (parseJsonObject(call.arguments) === undefined) return;
    call.isEnded = true;
    this.answer.add({ type: 'tool-call-end', index: call.index });
  }

  /** The reasoning before is whole. `growth`: what holds all of it again waits until it is so many times as long. */
  #prove(growth = 1): void {
    const proof = this.#details?.proof ?? this.#contentProof(growth);
    if (proof) this.answer.add({ type: 'reasoning-proof', proof });
    this.#details = undefined;
  }

  #contentProof(growth: number): ReasoningProof | undefined {
    const { length } = this.#thought;
    if (this.#hasDetails || length === this.#provenLength || length < this.#provenLength * growth)
      return undefined;
    this.#provenLength = this.#thought.length;
    return contentProof(this.#model, this.#thought);
  }

  #begin(call: OpenCall, sent: string): void {
    const id = this.callId(call.id);
    if (call.extra) {
      this.#details ??= new ReasoningDetails();
      this.#details.addOfCall(id, call.extra);
    }
    this.#prove();
    const index = this.beginCall(id, sent);
    call.index = index;
    call.arguments = call.early;
    if (call.early !== '') this.answer.add({ type: 'tool-call-delta', index, arguments: call.early });
    call.early = '';
  }

  /** Without a reason nothing says that the answer is whole; arguments without a name cannot be run. */
  protected override atEnd(): void {
    const { answer } = this;
    if (this.#end === undefined || this.#open.some(({ early }) => early !== '')) {
      answer.fail(noEnd());
      return;
    }
    this.#prove();
    const { reason } = this.#end;
    const isWhole = reason === 'stop' || reason === 'tool-calls';
    for (const call of this.#open) {
      if (call.index !== undefined && !call.isEnded)
        this.endCall(call.index, isWhole && call.arguments.trim() === '');
    }
    const metadata = this.#metadata;
    if (Object.keys(metadata).length > 0) answer.add({ type: 'metadata', metadata: { openai: metadata } });
    this.finish(this.#end);
  }
}

/** Read of the chunks as they are. */
const metadataFields = ['service_tier', 'system_fingerprint'];

function firstOf(value: unknown): JsonObject | undefined {
  return objectsIn(value)[0];
}

/** Text, or Mistral's list of parts. */
function readContent(content: unknown): { readonly said: string; readonly thought: string } {
  if (!Array.isArray(content)) return { said: textIn(content), thought: '' };
  const parts = content.filter(isJsonObject);
  return {
    said: parts.map(({ type, text }) => (type === 'text' ? textIn(text) : '')).join(''),
    thought: parts
      .map(({ type, thinking }) => (type === 'thinking' ? readContent(thinking).said : ''))
      .join(''),
  };
}

function brokenOff(): AppError {
  return new AppError('upstream_unavailable', 'The upstream broke its answer off. Try again.');
}
