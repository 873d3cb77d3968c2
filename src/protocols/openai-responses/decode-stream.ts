import type { AppError } from '../../core/errors.ts';
import type { FinishReason } from '../../core/turn.ts';
import { isJsonObject, type JsonObject, parseJsonObject } from '../../lib/parse-json.ts';
import { AnswerDecoder } from '../shared/answer-stream.ts';
import { errorIn, noEnd } from '../shared/failed-answer.ts';
import { classifyNamed } from '../shared/openai-failure.ts';
import { citationIn, countIn, objectsIn, readResponsesUsage, textIn } from '../shared/read-answer.ts';
import { ReasoningItems } from './reasoning-items.ts';

/** An item of the answer that is not whole yet. */
interface OpenItem {
  /** Of a call: its number among the calls. */
  readonly call: number | undefined;
  /** Characters of the answer's text before it. */
  readonly start: number;
  /** What came of it, by the number of the part. */
  readonly came: Map<number, string>;
  citations: number;
}

/** Reads a streamed answer for a client of another dialect. */
export class ResponsesDecoder extends AnswerDecoder {
  readonly #open = new Map<number, OpenItem>();
  readonly #done = new Set<number>();
  readonly #reasoning: ReasoningItems;
  #textLength = 0;
  #hasThought = false;

  /** `model`: as the upstream knows it. */
  constructor(model: string, toolNames?: ReadonlyMap<string, string>) {
    super('call_', toolNames);
    this.#reasoning = new ReasoningItems(model);
  }

  protected override read(data: string): void {
    // A malformed event within a sound stream is passed over, and so is `[DONE]`, which some servers add.
    const event = parseJsonObject(data);
    if (!event) return;
    const failure = failureIn(event);
    if (failure) {
      this.answer.fail(failure);
      return;
    }
    const response = isJsonObject(event['response']) ? event['response'] : {};
    const item = isJsonObject(event['item']) ? event['item'] : {};
    const index = countIn(event, 'output_index') ?? 0;
    const part = countIn(event, 'content_index') ?? 0;
    const delta = textIn(event['delta']);
    switch (event['type']) {
      case 'response.created':
        this.start(response['id']);
        break;
      case 'response.output_item.added':
        this.#begin(index, item);
        break;
      case 'response.output_text.delta':
        this.#say(this.#itemAt(index), part, 'text-delta', delta);
        break;
      case 'response.refusal.delta':
        this.#say(this.#itemAt(index), part, 'refusal-delta', delta);
        break;
      // Some servers give the whole here alone.
      case 'response.output_text.done':
        if (!this.#done.has(index))
          this.#sayRest(this.#itemAt(index), part, 'text-delta', textIn(event['text']));
        break;
      case 'response.function_call_arguments.done':
        if (!this.#done.has(index)) this.#callRest(this.#itemAt(index), textIn(event['arguments']));
        break;
      case 'response.output_text.annotation.added':
        this.#cite(this.#itemAt(index), event['annotation']);
        break;
      case 'response.reasoning_summary_part.added':
        if (this.#hasThought) this.#think('\n\n');
        break;
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        this.#think(delta);
        break;
      case 'response.function_call_arguments.delta':
        this.#callPiece(this.#itemAt(index), delta);
        break;
      case 'response.output_item.done':
        this.#end(index, item);
        break;
      case 'response.completed':
      case 'response.incomplete':
        this.#finish(response, event['type'] === 'response.completed');
        break;
      default:
    }
  }

  #begin(index: number, { type, call_id: givenId, name }: JsonObject): void {
    if (this.#open.has(index) || this.#done.has(index)) return;
    let call: number | undefined;
    if (type === 'function_call') {
      const id = this.callId(textIn(givenId));
      this.#prove(id);
      call = this.beginCall(id, textIn(name));
    } else if (type === 'message') this.#prove();
    this.#open.set(index, { call, start: this.#textLength, came: new Map(), citations: 0 });
  }

  /** Of an item whose beginning was lost: its pieces count as those of a message. */
  #itemAt(index: number): OpenItem {
    this.#begin(index, { type: 'message' });
    return (
      this.#open.get(index) ?? { call: undefined, start: this.#textLength, came: new Map(), citations: 0 }
    );
  }

  #say({ came }: OpenItem, part: number, type: 'text-delta' | 'refusal-delta', text: string): void {
    if (text === '') return;
    came.set(part, (came.get(part) ?? '') + text);
    if (type === 'text-delta') this.#textLength += text.length;
    this.answer.add({ type, text });
  }

  /** What of the whole did not come in pieces. */
  #sayRest(item: OpenItem, part: number, type: 'text-delta' | 'refusal-delta', whole: string): void {
    const came = item.came.get(part) ?? '';
    if (whole.startsWith(came)) this.#say(item, part, type, whole.slice(came.length));
  }

  #think(text: string): void {
    if (text === '') return;
    this.#hasThought = true;
    this.answer.add({ type: 'reasoning-delta', text });
  }

  #cite(item: OpenItem, annotation: unknown): void {
    if (!isJsonObject(annotation) || annotation['type'] !== 'url_citation') return;
    // Positions count within the item's text.
    const citation = citationIn(annotation, item.start);
    if (!citation) return;
    item.citations += 1;
    this.answer.add({ type: 'citation', citation });
  }

  #callPiece({ call, came }: OpenItem, piece: string): void {
    if (call === undefined || piece === '') return;
    came.set(0, (came.get(0) ?? '') + piece);
    this.answer.add({ type: 'tool-call-delta', index: call, arguments: piece });
  }

  /** False: what came in pieces is no part of it. */
  #callRest(item: OpenItem, whole: string): boolean {
    const came = item.came.get(0) ?? '';
    if (!whole.startsWith(came)) return false;
    this.#callPiece(item, whole.slice(came.length));
    return true;
  }

  /** All reasoning before is whole, and led to this call or to text. */
  #prove(callId?: string): void {
    const proof = this.#reasoning.ledTo(callId);
    if (proof) this.answer.add({ type: 'reasoning-proof', proof });
  }

  /** The whole item: what did not come in pieces is taken from it. */
  #end(index: number, item: JsonObject): void {
    if (this.#done.has(index)) return;
    this.#begin(index, item);
    const open = this.#itemAt(index);
    this.#open.delete(index);
    this.#done.add(index);
    if (open.call !== undefined) this.#endCall(open, open.call, item);
    else if (item['type'] === 'message') this.#endMessage(open, item);
    else if (item['type'] === 'reasoning') {
      if (!this.#hasThought)
        this.#think(
          objectsIn(item['summary'])
            .map(({ text }) => textIn(text))
            .join('\n\n'),
        );
      this.#reasoning.add(item);
    }
  }

  #endMessage(open: OpenItem, { content }: JsonObject): void {
    for (const [part, { type, text, refusal, annotations }] of objectsIn(content).entries()) {
      const isRefusal = type === 'refusal';
      this.#sayRest(
        open,
        part,
        isRefusal ? 'refusal-delta' : 'text-delta',
        textIn(isRefusal ? refusal : text),
      );
      if (open.citations === 0) for (const annotation of objectsIn(annotations)) this.#cite(open, annotation);
    }
  }

  /** Arguments of which a piece was lost are not run. */
  #endCall(open: OpenItem, index: number, { arguments: given, status }: JsonObject): void {
    const whole = isJsonObject(given) ? JSON.stringify(given) : textIn(given);
    const came = open.came.get(0) ?? '';
    if (!this.#callRest(open, whole) && !parseJsonObject(came)) this.answer.fail(noEnd());
    if (!this.answer.isOver) this.endCall(index, status !== 'incomplete' && (came + whole).trim() === '');
  }

  #finish(response: JsonObject, isCompleted: boolean): void {
    const { answer } = this;
    this.start(response['id']);
    for (const [index, item] of objectsIn(response['output']).entries())
      this.#end(index, isCompleted ? item : { ...item, status: 'incomplete' });
    for (const open of this.#open.values()) {
      if (open.call === undefined || answer.isOver) continue;
      const came = open.came.get(0) ?? '';
      if (isCompleted && came !== '' && !parseJsonObject(came)) answer.fail(noEnd());
      else this.endCall(open.call, isCompleted && came === '');
    }
    if (answer.isOver) return;
    this.#prove();
    const usage = readResponsesUsage(response['usage']);
    if (usage) answer.add({ type: 'usage', usage });
    const { service_tier: tier, incomplete_details: details } = response;
    if (typeof tier === 'string')
      answer.add({ type: 'metadata', metadata: { openai: { service_tier: tier } } });
    const upstreamReason = isCompleted ? 'completed' : textIn(isJsonObject(details) ? details['reason'] : '');
    answer.add({
      type: 'finish',
      reason: finishOf(isCompleted, upstreamReason, this.calls > 0),
      ...(upstreamReason !== '' && { upstreamReason }),
    });
  }
}

export function finishOf(isCompleted: boolean, reason: string, hasCalls: boolean): FinishReason {
  if (isCompleted) return hasCalls ? 'tool-calls' : 'stop';
  return reason === 'content_filter' ? 'content-filter' : 'length';
}

/** Why an answer ended in failure; undefined for an event that says no such thing. */
export function failureIn(event: JsonObject): AppError | undefined {
  const { type, response } = event;
  if (type === 'response.failed') {
    const error = isJsonObject(response) ? errorIn(response) : undefined;
    return classifyNamed(error ?? {});
  }
  // Its fields are its own, or, as for errors before a stream, those of an object within.
  if (type === 'error') return classifyNamed(errorIn(event) ?? errorIn({ error: event }) ?? {});
  const error = type === undefined ? errorIn(event) : undefined;
  return error && classifyNamed(error);
}
