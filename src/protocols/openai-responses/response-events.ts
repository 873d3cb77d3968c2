import { AppError } from '../../core/errors.ts';
import type { AnswerIdentity } from '../../core/protocol.ts';
import {
  beginsNothing,
  type Citation,
  type FinishReason,
  type ProviderMetadata,
  type ReasoningProof,
  type TurnEvent,
  type Usage,
} from '../../core/turn.ts';
import { CallsInTurn } from '../shared/calls-in-turn.ts';
import { callItem, isCut, isWholeOnly } from './call-item.ts';
import { summaryItem } from './compaction.ts';
import {
  type ContentPart,
  emptyPart,
  encodeCitation,
  endOf,
  eventError,
  type ItemStatus,
  itemId,
  messageItem,
  type OutputItem,
  type ResponseStatus,
  type ResponsesOptions,
  reasoningItem,
  responseObject,
  textOf,
} from './response.ts';

/** A message or reasoning that goes on. */
interface OpenItem {
  readonly kind: 'message' | 'reasoning';
  readonly id: string;
  readonly index: number;
  /** The item's fields in every event about it. */
  readonly place: string;
  readonly parts: ContentPart[];
}

interface OpenCall {
  readonly call: { readonly id: string; readonly name: string; arguments: string };
  /** Undefined until its arguments are whole, where its item can be made only then. */
  readonly shown: { readonly index: number; readonly place: string } | undefined;
}

interface ResponseEventsTarget {
  /** One event in the dialect's order: its type, and the whole event as JSON. */
  emit(type: string, json: string): void;
  /** The response as it ended, before its last event. A failed one has an error. */
  onEnd?(response: Record<string, unknown>): void;
}

/** By the type of a part: what its events are named, and the number that tells its place. */
const partEvents = {
  output_text: { name: 'output_text', part: 'content_part', index: 'content_index', more: ',"logprobs":[]' },
  refusal: { name: 'refusal', part: 'content_part', index: 'content_index', more: '' },
  summary_text: {
    name: 'reasoning_summary_text',
    part: 'reasoning_summary_part',
    index: 'summary_index',
    more: '',
  },
} as const;

/** What follows a call without saying that it was whole. */
const tellsNoMore: ReadonlySet<TurnEvent['type']> = new Set(['usage', 'metadata', 'finish', 'error']);

/**
 * Events in the dialect's order: created, in_progress, one item after another with its parts, then completed,
 * incomplete or failed.
 */
export class ResponseEvents {
  readonly #identity: AnswerIdentity;
  readonly #options: ResponsesOptions;
  readonly #target: ResponseEventsTarget;
  readonly #output: OutputItem[] = [];
  readonly #calls = new Map<number, OpenCall>();
  #lastCall: number | undefined;
  readonly #inTurn = new CallsInTurn((event) => this.#pushOne(event));
  #sequence = 0;
  #isCreated = false;
  #isStarted = false;
  #proof: ReasoningProof | undefined;
  /** It came behind its reasoning. */
  #isProofUnsent = false;
  /** Of a call that may have been cut: how the answer ends, or that it goes on, tells. */
  #unsureEnd: number | undefined;
  #open: OpenItem | undefined;
  #usage: Usage | undefined;
  #metadata: ProviderMetadata | undefined;
  #summary = '';

  constructor(identity: AnswerIdentity, options: ResponsesOptions, target: ResponseEventsTarget) {
    this.#identity = identity;
    this.#options = options;
    this.#target = target;
  }

  push(events: readonly TurnEvent[]): void {
    for (const event of events) {
      if (!beginsNothing(event) || event.type === 'error') this.#start();
      if (this.#options.compaction) this.#pushSummary(event, this.#options.compaction);
      else this.#inTurn.push(event);
    }
  }

  /** A response without any output: its request was taken in and no more. */
  prepare(): void {
    this.#start();
    this.#end('completed', this.current('completed'));
  }

  /** Announces a response that waits for its turn. */
  queue(): void {
    this.#isCreated = true;
    this.#lifecycle('created', 'queued');
    this.#lifecycle('queued', 'queued');
  }

  /** The response as it is now. */
  current(status: ResponseStatus, error?: AppError, reason?: FinishReason): Record<string, unknown> {
    const now = { status, output: this.#output, usage: this.#usage, metadata: this.#metadata, error, reason };
    return responseObject(this.#identity, this.#options, now);
  }

  #send(type: string, fields: string): void {
    this.#target.emit(type, `{"type":"${type}","sequence_number":${this.#sequence},${fields}}`);
    this.#sequence += 1;
  }

  #lifecycle(what: 'created' | 'queued' | 'in_progress', status: ResponseStatus): void {
    this.#send(`response.${what}`, `"response":${JSON.stringify(this.current(status))}`);
  }

  #start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    if (!this.#isCreated) this.#lifecycle('created', 'in_progress');
    this.#isCreated = true;
    this.#lifecycle('in_progress', 'in_progress');
  }

  #put(what: 'added' | 'done', item: OutputItem, index: number): void {
    this.#output[index] = item;
    this.#send(`response.output_item.${what}`, `"output_index":${index},"item":${JSON.stringify(item)}`);
  }

  #textItem({ kind, id, parts }: OpenItem, status: ItemStatus): OutputItem {
    if (kind === 'message') return messageItem(id, status, [...parts]);
    const seal = status === 'in_progress' ? undefined : this.#options.seal;
    return reasoningItem(id, status, parts[0] && textOf(parts[0]), seal, this.#proof);
  }

  /** An event about a part of the open item, the last one. */
  #sendOfPart(item: OpenItem, type: string, fields: string): void {
    const { index } = partEvents[lastOf(item).type];
    this.#send(`response.${type}`, `${item.place},"${index}":${item.parts.length - 1},${fields}`);
  }

  #sendPart(item: OpenItem, what: 'added' | 'done'): void {
    const part = lastOf(item);
    this.#sendOfPart(item, `${partEvents[part.type].part}.${what}`, `"part":${JSON.stringify(part)}`);
  }

  #begin(kind: OpenItem['kind'], part: ContentPart): OpenItem {
    this.#close('completed');
    const index = this.#output.length;
    const id = itemId(kind === 'message' ? 'msg' : 'rs', this.#identity, index);
    const item: OpenItem = { kind, id, index, place: placeOf(id, index), parts: [] };
    this.#open = item;
    this.#put('added', this.#textItem(item, 'in_progress'), index);
    this.#beginPart(item, part);
    return item;
  }

  #beginPart(item: OpenItem, part: ContentPart): void {
    item.parts.push(part);
    this.#sendPart(item, 'added');
  }

  /** The item that the text goes to: the open one, with another part where the text is of another type. */
  #itemFor(kind: OpenItem['kind'], type: ContentPart['type']): OpenItem {
    const item = this.#open;
    if (item?.kind !== kind) return this.#begin(kind, emptyPart(type));
    if (lastOf(item).type !== type) {
      this.#closePart(item);
      this.#beginPart(item, emptyPart(type));
    }
    return item;
  }

  #textDelta(kind: OpenItem['kind'], type: ContentPart['type'], text: string): void {
    const item = this.#itemFor(kind, type);
    const part = lastOf(item);
    if (part.type === 'refusal') part.refusal += text;
    else part.text += text;
    const { name, more } = partEvents[type];
    this.#sendOfPart(item, `${name}.delta`, `"delta":${JSON.stringify(text)}${more}`);
  }

  #cite(citation: Citation): void {
    const item = this.#itemFor('message', 'output_text');
    const part = lastOf(item);
    if (part.type !== 'output_text') return;
    const annotation = encodeCitation(citation);
    const fields = `"annotation_index":${part.annotations.length},"annotation":${JSON.stringify(annotation)}`;
    part.annotations.push(annotation);
    this.#sendOfPart(item, 'output_text.annotation.added', fields);
  }

  #closePart(item: OpenItem): void {
    const part = lastOf(item);
    const { name, more } = partEvents[part.type];
    const field = part.type === 'refusal' ? 'refusal' : 'text';
    this.#sendOfPart(item, `${name}.done`, `"${field}":${JSON.stringify(textOf(part))}${more}`);
    this.#sendPart(item, 'done');
  }

  #close(status: 'completed' | 'incomplete'): void {
    const item = this.#open;
    if (item === undefined) return;
    this.#open = undefined;
    this.#closePart(item);
    this.#put('done', this.#textItem(item, item.kind === 'message' ? status : 'completed'), item.index);
  }

  #callStart(event: Extract<TurnEvent, { type: 'tool-call-start' }>): void {
    if (this.#isProofUnsent && this.#options.seal) this.#begin('reasoning', emptyPart('summary_text'));
    this.#isProofUnsent = false;
    this.#close('completed');
    const call = { id: event.id, name: event.name, arguments: '' };
    const shown = isWholeOnly(call.name, this.#options.tools) ? undefined : this.#beginCall(call);
    this.#calls.set(event.index, { call, shown });
    this.#lastCall = event.index;
  }

  #beginCall(call: OpenCall['call']): { readonly index: number; readonly place: string } {
    const index = this.#output.length;
    const item = this.#callItem(call, index, 'in_progress');
    this.#put('added', item, index);
    return { index, place: placeOf(item.id, index) };
  }

  #callItem(call: OpenCall['call'], index: number, status: ItemStatus): OutputItem {
    return callItem(this.#identity, index, call, this.#options.tools, status);
  }

  #callDelta(index: number, text: string): void {
    const item = this.#calls.get(index);
    if (item === undefined) return;
    item.call.arguments += text;
    // The input of a custom tool stands inside the arguments: it can be shown once they are whole.
    if (item.shown === undefined || this.#isCustom(item.call.name)) return;
    this.#send(
      'response.function_call_arguments.delta',
      `${item.shown.place},"delta":${JSON.stringify(text)}`,
    );
  }

  #callEnd(number: number, status: 'completed' | 'incomplete'): void {
    const item = this.#calls.get(number);
    if (item === undefined) return;
    this.#calls.delete(number);
    const { call } = item;
    if (item.shown === undefined) this.#close('completed');
    const { index, place } = item.shown ?? this.#beginCall(call);
    const whole = this.#callItem(call, index, status);
    if (this.#isCustom(call.name)) {
      const input = JSON.stringify(whole['input']);
      this.#send('response.custom_tool_call_input.delta', `${place},"delta":${input}`);
      this.#send('response.custom_tool_call_input.done', `${place},"input":${input}`);
    } else if (whole.type === 'function_call') {
      const fields = `"name":${JSON.stringify(whole['name'])},"arguments":${JSON.stringify(call.arguments)}`;
      this.#send('response.function_call_arguments.done', `${place},${fields}`);
    }
    this.#put('done', whole, index);
  }

  #isCustom(name: string): boolean {
    return this.#options.tools.forms.get(name)?.kind === 'custom';
  }

  #finish(reason: FinishReason): void {
    const { status } = endOf(reason);
    // An answer of nothing but thoughts is an empty message: clients look for one.
    if (this.#calls.size === 0 && this.#output.every(({ type }) => type === 'reasoning')) {
      this.#begin('message', emptyPart('output_text'));
    }
    this.#close(status);
    for (const [index, { call }] of [...this.#calls])
      this.#callEnd(index, index === this.#lastCall && isCut(call) ? status : 'completed');
    this.#end(status, this.current(status, undefined, reason));
  }

  #end(status: 'completed' | 'incomplete', whole: Record<string, unknown>): void {
    this.#target.onEnd?.(whole);
    this.#send(`response.${status}`, `"response":${JSON.stringify(whole)}`);
  }

  /**
   * What was begun stays as far as it came, and is nowhere called whole. OpenAI's own clients throw for an event with
   * an `error`, Codex and the AI SDK read the one of the failed response: one event tells all of them.
   */
  #fail(error: AppError): void {
    if (this.#open) this.#output[this.#open.index] = this.#textItem(this.#open, 'incomplete');
    for (const { shown, call } of this.#calls.values()) {
      if (shown) this.#output[shown.index] = this.#callItem(call, shown.index, 'incomplete');
    }
    const isCancelled = error.code === 'cancelled';
    const whole = this.current(isCancelled ? 'cancelled' : 'failed', isCancelled ? undefined : error);
    this.#target.onEnd?.(whole);
    const shown = JSON.stringify(eventError(error));
    this.#send('response.failed', `"response":${JSON.stringify(whole)},"error":${shown}`);
  }

  /** Of a summary nothing is shown before it is whole. */
  #pushSummary(event: TurnEvent, compaction: NonNullable<ResponsesOptions['compaction']>): void {
    if (event.type === 'text-delta') this.#summary += event.text;
    else if (event.type === 'usage') this.#usage = event.usage;
    else if (event.type === 'error') this.#fail(event.error);
    else if (event.type === 'finish') {
      const answer = { text: this.#summary, finishReason: event.reason };
      let item: OutputItem;
      try {
        item = summaryItem(this.#identity, answer, compaction, this.#options.asked.max_output_tokens);
      } catch (error) {
        this.#fail(AppError.from(error));
        return;
      }
      this.#put('added', item, 0);
      this.#put('done', item, 0);
      this.#end('completed', this.current('completed'));
    }
  }

  #pushOne(event: TurnEvent): void {
    if (this.#unsureEnd !== undefined && !tellsNoMore.has(event.type)) {
      this.#callEnd(this.#unsureEnd, 'completed');
      this.#unsureEnd = undefined;
    }
    switch (event.type) {
      case 'text-delta':
        this.#textDelta('message', 'output_text', event.text);
        break;
      case 'refusal-delta':
        this.#textDelta('message', 'refusal', event.text);
        break;
      case 'citation':
        this.#cite(event.citation);
        break;
      case 'reasoning-delta':
        this.#textDelta('reasoning', 'summary_text', event.text);
        break;
      case 'reasoning-proof':
        this.#proof = event.proof;
        // Of reasoning that the upstream shows no word of: the client has to send the proof back anyway.
        if (this.#options.seal && this.#output.length === 0) {
          this.#begin('reasoning', emptyPart('summary_text'));
        } else this.#isProofUnsent = this.#open?.kind !== 'reasoning';
        break;
      case 'tool-call-start':
        this.#callStart(event);
        break;
      case 'tool-call-delta':
        this.#callDelta(event.index, event.arguments);
        break;
      case 'tool-call-end':
        if (isCut(this.#calls.get(event.index)?.call)) this.#unsureEnd = event.index;
        else this.#callEnd(event.index, 'completed');
        break;
      case 'usage':
        this.#usage = event.usage;
        break;
      case 'metadata':
        this.#metadata = event.metadata;
        break;
      case 'finish':
        this.#finish(event.reason);
        break;
      case 'error':
        this.#fail(event.error);
        break;
      default:
    }
  }
}

function placeOf(id: string, index: number): string {
  return `"item_id":${JSON.stringify(id)},"output_index":${index}`;
}

function lastOf({ parts }: OpenItem): ContentPart {
  return parts[parts.length - 1] as ContentPart;
}
