import { AppError } from '../../core/errors.ts';
import type { AnswerIdentity, StreamEncoder } from '../../core/protocol.ts';
import type { FinishReason, ReasoningProof, TurnEvent, Usage } from '../../core/turn.ts';
import { callItem, isWholeOnly } from './call-item.ts';
import { summaryItem } from './compaction.ts';
import {
  endOf,
  type ItemStatus,
  itemId,
  messageItem,
  type OutputItem,
  type ResponseStatus,
  type ResponsesOptions,
  reasoningItem,
  responseError,
  responseObject,
} from './response.ts';

/** The events of a response as server-sent ones. `onEnd` gets the response as it ended. */
export function createResponsesStreamEncoder(
  identity: AnswerIdentity,
  options: ResponsesOptions,
  onEnd?: (response: Record<string, unknown>) => void,
): StreamEncoder {
  let text = '';
  const events = createResponseEvents(identity, options, {
    emit(type, json) {
      text += serverSentEvent(type, json);
    },
    ...(onEnd ? { onEnd } : {}),
  });
  return {
    keepAlive: ': keep-alive\n\n',
    encode(batch) {
      text = '';
      events.push(batch);
      // The open specification ends a stream with this line as Chat Completions does; a broken one goes without.
      return batch[batch.length - 1]?.type === 'finish' ? `${text}${streamEnd}` : text;
    },
  };
}

export const streamEnd = 'data: [DONE]\n\n';

export function serverSentEvent(type: string, json: string): string {
  return `event: ${type}\ndata: ${json}\n\n`;
}

interface OpenText {
  readonly kind: 'message' | 'reasoning';
  readonly id: string;
  readonly index: number;
  /** The item's fields in every event about it. */
  readonly place: string;
  text: string;
}

interface OpenCall {
  readonly call: { readonly id: string; readonly name: string; arguments: string };
  /** Undefined until its arguments are whole, where its item can be made only then. */
  readonly shown: { readonly index: number; readonly place: string } | undefined;
}

export interface ResponseEvents {
  push(events: readonly TurnEvent[]): void;
  /** Announces a response that waits for its turn. */
  queue(): void;
  /** A response without any output: its request was taken in and no more. */
  prepare(): void;
  /** The response as it is now. */
  current(status: ResponseStatus): Record<string, unknown>;
}

interface ResponseEventsTarget {
  /** One event in the dialect's order: its type, and the whole event as JSON. */
  emit(type: string, json: string): void;
  /** The response as it ended, before its last event. A failed one has an error. */
  onEnd?(response: Record<string, unknown>): void;
}

/**
 * Events in the dialect's order: created, in_progress, one item after another with its parts, then completed,
 * incomplete or failed. A call's pieces may come while another call is open; each is an item of its own.
 */
export function createResponseEvents(
  identity: AnswerIdentity,
  options: ResponsesOptions,
  target: ResponseEventsTarget,
): ResponseEvents {
  const output: OutputItem[] = [];
  const calls = new Map<number, OpenCall>();
  let sequence = 0;
  let isCreated = false;
  let isStarted = false;
  let proof: ReasoningProof | undefined;
  let open: OpenText | undefined;
  let usage: Usage | undefined;
  let summary = '';

  const send = (type: string, fields: string): void => {
    target.emit(type, `{"type":"${type}","sequence_number":${sequence},${fields}}`);
    sequence += 1;
  };
  const placeOf = (id: string, index: number): string =>
    `"item_id":${JSON.stringify(id)},"output_index":${index}`;
  const current = (status: ResponseStatus, error?: AppError, reason?: FinishReason) =>
    responseObject(identity, options, { status, output, usage, error, reason });

  function lifecycle(what: 'created' | 'queued' | 'in_progress', status: ResponseStatus): void {
    send(`response.${what}`, `"response":${JSON.stringify(current(status))}`);
  }

  function start(): void {
    if (isStarted) return;
    isStarted = true;
    if (!isCreated) lifecycle('created', 'in_progress');
    isCreated = true;
    lifecycle('in_progress', 'in_progress');
  }

  function put(what: 'added' | 'done', item: OutputItem, index: number): void {
    output[index] = item;
    send(`response.output_item.${what}`, `"output_index":${index},"item":${JSON.stringify(item)}`);
  }

  function textItem({ kind, id }: OpenText, status: ItemStatus, text: string | undefined): OutputItem {
    return kind === 'message'
      ? messageItem(id, status, text)
      : reasoningItem(id, status, text, status === 'in_progress' ? undefined : options.seal, proof);
  }

  function part(what: 'added' | 'done', item: OpenText, text: string): void {
    if (item.kind === 'message') {
      const shown = JSON.stringify({ type: 'output_text', text, annotations: [], logprobs: [] });
      send(`response.content_part.${what}`, `${item.place},"content_index":0,"part":${shown}`);
      return;
    }
    const shown = JSON.stringify({ type: 'summary_text', text });
    send(`response.reasoning_summary_part.${what}`, `${item.place},"summary_index":0,"part":${shown}`);
  }

  function begin(kind: OpenText['kind']): OpenText {
    close('completed');
    const index = output.length;
    const id = itemId(kind === 'message' ? 'msg' : 'rs', identity, index);
    const item: OpenText = { kind, id, index, place: placeOf(id, index), text: '' };
    open = item;
    put('added', textItem(item, 'in_progress', undefined), index);
    part('added', item, '');
    return item;
  }

  function textDelta(kind: OpenText['kind'], text: string): void {
    const item = open?.kind === kind ? open : begin(kind);
    item.text += text;
    const delta = JSON.stringify(text);
    if (kind === 'message') {
      send('response.output_text.delta', `${item.place},"content_index":0,"delta":${delta},"logprobs":[]`);
    } else {
      send('response.reasoning_summary_text.delta', `${item.place},"summary_index":0,"delta":${delta}`);
    }
  }

  function close(status: 'completed' | 'incomplete'): void {
    if (open === undefined) return;
    const item = open;
    open = undefined;
    const text = JSON.stringify(item.text);
    if (item.kind === 'message') {
      send('response.output_text.done', `${item.place},"content_index":0,"text":${text},"logprobs":[]`);
    } else {
      send('response.reasoning_summary_text.done', `${item.place},"summary_index":0,"text":${text}`);
    }
    part('done', item, item.text);
    put('done', textItem(item, item.kind === 'message' ? status : 'completed', item.text), item.index);
  }

  function callStart(event: Extract<TurnEvent, { type: 'tool-call-start' }>): void {
    close('completed');
    const call = { id: event.id, name: event.name, arguments: '' };
    const shown = isWholeOnly(call.name, options.tools) ? undefined : begun(call);
    calls.set(event.index, { call, shown });
  }

  function begun(call: OpenCall['call']): { readonly index: number; readonly place: string } {
    const index = output.length;
    const item = callItem(identity, index, call, options.tools, 'in_progress');
    put('added', item, index);
    return { index, place: placeOf(item.id, index) };
  }

  function callDelta(index: number, text: string): void {
    const item = calls.get(index);
    if (item === undefined) return;
    item.call.arguments += text;
    // The input of a custom tool stands inside the arguments: it can be shown once they are whole.
    if (item.shown === undefined || isCustom(item.call.name)) return;
    send('response.function_call_arguments.delta', `${item.shown.place},"delta":${JSON.stringify(text)}`);
  }

  function callEnd(number: number, status: 'completed' | 'incomplete'): void {
    const item = calls.get(number);
    if (item === undefined) return;
    calls.delete(number);
    const { call } = item;
    if (item.shown === undefined) close('completed');
    const { index, place } = item.shown ?? begun(call);
    const whole = callItem(identity, index, call, options.tools, status);
    if (isCustom(call.name)) {
      const input = JSON.stringify(whole['input']);
      send('response.custom_tool_call_input.delta', `${place},"delta":${input}`);
      send('response.custom_tool_call_input.done', `${place},"input":${input}`);
    } else if (whole.type === 'function_call') {
      const fields = `"name":${JSON.stringify(whole['name'])},"arguments":${JSON.stringify(call.arguments)}`;
      send('response.function_call_arguments.done', `${place},${fields}`);
    }
    put('done', whole, index);
  }

  const isCustom = (name: string): boolean => options.tools.forms.get(name)?.kind === 'custom';

  function finish(reason: FinishReason): void {
    const { status } = endOf(reason);
    // An answer of nothing but thoughts is an empty message: clients look for one.
    if (calls.size === 0 && output.every(({ type }) => type === 'reasoning')) begin('message');
    close(status);
    for (const index of [...calls.keys()]) callEnd(index, status);
    end(status, current(status, undefined, reason));
  }

  function end(status: 'completed' | 'incomplete', whole: Record<string, unknown>): void {
    target.onEnd?.(whole);
    send(`response.${status}`, `"response":${JSON.stringify(whole)}`);
  }

  /**
   * What was begun stays as far as it came, and is nowhere called whole. OpenAI's own clients throw for an event with
   * an `error`, Codex and the AI SDK read the one of the failed response: one event tells all of them.
   */
  function fail(error: AppError): void {
    if (open) output[open.index] = textItem(open, 'incomplete', open.text);
    for (const { shown, call } of calls.values()) {
      if (shown) output[shown.index] = callItem(identity, shown.index, call, options.tools, 'incomplete');
    }
    const isCancelled = error.code === 'cancelled';
    const whole = current(isCancelled ? 'cancelled' : 'failed', isCancelled ? undefined : error);
    target.onEnd?.(whole);
    const shown = { type: error.openaiType, ...responseError(error), param: error.param ?? null };
    send('response.failed', `"response":${JSON.stringify(whole)},"error":${JSON.stringify(shown)}`);
  }

  /** Of a summary nothing is shown before it is whole. */
  function pushSummary(event: TurnEvent, compaction: NonNullable<ResponsesOptions['compaction']>): void {
    if (event.type === 'text-delta') summary += event.text;
    else if (event.type === 'usage') usage = event.usage;
    else if (event.type === 'error') fail(event.error);
    else if (event.type === 'finish') {
      const answer = { text: summary, finishReason: event.reason };
      let item: OutputItem;
      try {
        item = summaryItem(identity, answer, compaction, options.asked.max_output_tokens);
      } catch (error) {
        fail(AppError.from(error));
        return;
      }
      put('added', item, 0);
      put('done', item, 0);
      end('completed', current('completed'));
    }
  }

  function pushOne(event: TurnEvent): void {
    if (options.compaction) {
      pushSummary(event, options.compaction);
      return;
    }
    switch (event.type) {
      case 'text-delta':
        textDelta('message', event.text);
        break;
      case 'reasoning-delta':
        textDelta('reasoning', event.text);
        break;
      case 'reasoning-proof':
        proof = event.proof;
        break;
      case 'tool-call-start':
        callStart(event);
        break;
      case 'tool-call-delta':
        callDelta(event.index, event.arguments);
        break;
      case 'tool-call-end':
        callEnd(event.index, 'completed');
        break;
      case 'usage':
        usage = event.usage;
        break;
      case 'finish':
        finish(event.reason);
        break;
      case 'error':
        fail(event.error);
        break;
      default:
    }
  }

  return {
    push(events) {
      for (const event of events) {
        if (event.type !== 'start' && event.type !== 'usage') start();
        pushOne(event);
      }
    },
    prepare() {
      start();
      end('completed', current('completed'));
    },
    queue() {
      isCreated = true;
      lifecycle('created', 'queued');
      lifecycle('queued', 'queued');
    },
    current,
  };
}
