import type { AnswerIdentity, StreamEncoder } from '../../core/protocol.ts';
import type { FinishReason, TurnEvent, Usage } from '../../core/turn.ts';
import { callItem } from './call-item.ts';
import type { ResponsesOptions } from './decode-request.ts';
import { itemId, messageItem, type OutputItem, reasoningItem, responseObject } from './response.ts';

type Open =
  | { readonly kind: 'message' | 'reasoning'; readonly id: string; readonly index: number; text: string }
  | {
      readonly kind: 'call';
      readonly id: string;
      readonly index: number;
      readonly call: { readonly id: string; readonly name: string; arguments: string };
    };

/**
 * Events in the dialect's order: created, in_progress, one item after another with its parts, completed or incomplete.
 * `onDone` gets the finished response. A call's pieces may come while another call is open; each is an item of its own.
 */
export function createResponsesStreamEncoder(
  identity: AnswerIdentity,
  options: ResponsesOptions,
  onDone?: (response: Record<string, unknown>) => void,
): StreamEncoder {
  const output: OutputItem[] = [];
  const calls = new Map<number, Extract<Open, { kind: 'call' }>>();
  let isStarted = false;
  let sequence = 0;
  let open: Exclude<Open, { kind: 'call' }> | undefined;
  let usage: Usage | undefined;

  const send = (type: string, fields: string): string => {
    const number = sequence;
    sequence += 1;
    return `event: ${type}\ndata: {"type":"${type}","sequence_number":${number},${fields}}\n\n`;
  };
  const place = (item: { readonly id: string; readonly index: number }): string =>
    `"item_id":${JSON.stringify(item.id)},"output_index":${item.index}`;
  const response = (status: 'in_progress' | 'completed' | 'incomplete') =>
    responseObject(identity, options, { status, output, usage });
  const added = (item: OutputItem, index: number): string => {
    output[index] = item;
    return send('response.output_item.added', `"output_index":${index},"item":${JSON.stringify(item)}`);
  };
  const done = (item: OutputItem, index: number): string => {
    output[index] = item;
    return send('response.output_item.done', `"output_index":${index},"item":${JSON.stringify(item)}`);
  };

  function start(): string {
    isStarted = true;
    const body = `"response":${JSON.stringify(response('in_progress'))}`;
    return send('response.created', body) + send('response.in_progress', body);
  }

  function begin(kind: 'message' | 'reasoning'): string {
    const closed = close('completed');
    const index = output.length;
    const id = itemId(kind === 'message' ? 'msg' : 'rs', identity, index);
    open = { kind, id, index, text: '' };
    const item = kind === 'message' ? messageItem : reasoningItem;
    const head = added(item(id, 'in_progress', undefined), index);
    return closed + head + partEvent('added', open, '');
  }

  function partEvent(what: 'added' | 'done', item: Exclude<Open, { kind: 'call' }>, text: string): string {
    if (item.kind === 'message') {
      const part = JSON.stringify({ type: 'output_text', text, annotations: [], logprobs: [] });
      return send(`response.content_part.${what}`, `${place(item)},"content_index":0,"part":${part}`);
    }
    const part = JSON.stringify({ type: 'summary_text', text });
    return send(`response.reasoning_summary_part.${what}`, `${place(item)},"summary_index":0,"part":${part}`);
  }

  function textDelta(kind: 'message' | 'reasoning', text: string): string {
    const head = open?.kind === kind ? '' : begin(kind);
    if (open === undefined) return head;
    open.text += text;
    const fields = `${place(open)},"${kind === 'message' ? 'content' : 'summary'}_index":0,"delta":${JSON.stringify(text)}`;
    return kind === 'message'
      ? `${head}${send('response.output_text.delta', `${fields},"logprobs":[]`)}`
      : head + send('response.reasoning_summary_text.delta', fields);
  }

  function close(status: 'completed' | 'incomplete'): string {
    if (open === undefined) return '';
    const item = open;
    open = undefined;
    const text = JSON.stringify(item.text);
    if (item.kind === 'message') {
      return (
        send('response.output_text.done', `${place(item)},"content_index":0,"text":${text},"logprobs":[]`) +
        partEvent('done', item, item.text) +
        done(messageItem(item.id, status, item.text), item.index)
      );
    }
    return (
      send('response.reasoning_summary_text.done', `${place(item)},"summary_index":0,"text":${text}`) +
      partEvent('done', item, item.text) +
      done(reasoningItem(item.id, 'completed', item.text), item.index)
    );
  }

  function callStart(event: Extract<TurnEvent, { type: 'tool-call-start' }>): string {
    const closed = close('completed');
    const call = { id: event.id, name: event.name, arguments: '' };
    const item = callItem(identity, output.length, call, options.tools, 'in_progress');
    const index = output.length;
    calls.set(event.index, { kind: 'call', id: item.id, index, call });
    return closed + added(item, index);
  }

  function callDelta(index: number, text: string): string {
    const item = calls.get(index);
    if (item === undefined) return '';
    item.call.arguments += text;
    // The input of a custom tool stands inside the arguments: it can be shown once they are whole.
    if (isCustom(item.call.name)) return '';
    return send('response.function_call_arguments.delta', `${place(item)},"delta":${JSON.stringify(text)}`);
  }

  function callEnd(index: number): string {
    const item = calls.get(index);
    if (item === undefined) return '';
    calls.delete(index);
    const whole = callItem(identity, item.index, item.call, options.tools, 'completed');
    if (isCustom(item.call.name)) {
      const input = JSON.stringify(whole['input']);
      return (
        send('response.custom_tool_call_input.delta', `${place(item)},"delta":${input}`) +
        send('response.custom_tool_call_input.done', `${place(item)},"input":${input}`) +
        done(whole, item.index)
      );
    }
    const fields = `"name":${JSON.stringify(whole['name'])},"arguments":${JSON.stringify(item.call.arguments)}`;
    return (
      send('response.function_call_arguments.done', `${place(item)},${fields}`) + done(whole, item.index)
    );
  }

  const isCustom = (name: string): boolean => options.tools.forms.get(name)?.kind === 'custom';

  function finish(reason: FinishReason): string {
    const status = reason === 'length' ? 'incomplete' : 'completed';
    // An answer of nothing is an empty message: clients look for an item.
    const empty = output.length === 0 ? begin('message') : '';
    const closed = close(status) + [...calls.keys()].map(callEnd).join('');
    const whole = response(status);
    onDone?.(whole);
    // The open specification ends a stream with this line as Chat Completions does; a broken one goes without.
    return `${empty}${closed}${send(`response.${status}`, `"response":${JSON.stringify(whole)}`)}data: [DONE]\n\n`;
  }

  function encodeOne(event: TurnEvent): string {
    switch (event.type) {
      case 'text-delta':
        return textDelta('message', event.text);
      case 'reasoning-delta':
        return textDelta('reasoning', event.text);
      case 'tool-call-start':
        return callStart(event);
      case 'tool-call-delta':
        return callDelta(event.index, event.arguments);
      case 'tool-call-end':
        return callEnd(event.index);
      case 'usage':
        usage = event.usage;
        return '';
      case 'finish':
        return finish(event.reason);
      case 'error': {
        // Nothing follows: no client may take what came before for a whole answer.
        const { error } = event;
        const code = JSON.stringify(error.openaiCode ?? error.openaiType);
        const param = JSON.stringify(error.param ?? null);
        return send('error', `"code":${code},"message":${JSON.stringify(error.message)},"param":${param}`);
      }
      default:
        return '';
    }
  }

  return {
    keepAlive: ': keep-alive\n\n',
    encode(events) {
      let text = '';
      for (const event of events) {
        const isShown = event.type !== 'start' && event.type !== 'usage' && event.type !== 'error';
        if (isShown && !isStarted) text += start();
        text += encodeOne(event);
      }
      return text;
    },
  };
}
