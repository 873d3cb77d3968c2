import type { AnswerIdentity, StreamEncoder } from '../../core/protocol.ts';
import type { TurnEvent, Usage } from '../../core/turn.ts';
import type { MessagesOptions } from './decode-request.ts';
import { encodeMessagesError, encodeUsage, stopReasonOf } from './encode-answer.ts';

type Block = { readonly kind: 'text' | 'thinking' } | { readonly kind: 'tool'; readonly call: number };

/**
 * Events in the dialect's order: message_start, blocks one after another, message_delta, message_stop. Blocks never
 * overlap, so a call whose pieces come while another block is open waits for its turn.
 */
export function createMessagesStreamEncoder(
  identity: AnswerIdentity,
  options: MessagesOptions,
): StreamEncoder {
  let isStarted = false;
  let open: Block | undefined;
  let index = -1;
  let usage: Usage | undefined;
  /** Pieces of calls that another open call keeps waiting, by the call's index. */
  const waiting = new Map<number, { readonly head: string; pieces: string; isEnded: boolean }>();

  const begin = (block: Block, content: string): string => {
    const closed = close();
    index += 1;
    open = block;
    return `${closed}${sse('content_block_start', `"index":${index},"content_block":${content}`)}`;
  };
  const close = (): string => {
    if (open === undefined) return '';
    open = undefined;
    return sse('content_block_stop', `"index":${index}`);
  };
  const delta = (content: string): string =>
    sse('content_block_delta', `"index":${index},"delta":${content}`);

  function callPiece(call: number, text: string): string {
    if (open?.kind === 'tool' && open.call === call) return delta(inputDelta(text));
    const late = waiting.get(call);
    if (late) late.pieces += text;
    return '';
  }

  /** Calls that had to wait, whole where they are whole by now. */
  function callsThatWaited(): string {
    let text = '';
    for (const [call, { head, pieces, isEnded }] of waiting) {
      waiting.delete(call);
      text += begin({ kind: 'tool', call }, head);
      if (pieces !== '') text += delta(inputDelta(pieces));
      if (!isEnded) break;
      text += close();
    }
    return text;
  }

  function encodeOne(event: TurnEvent): string {
    switch (event.type) {
      case 'text-delta': {
        const head = open?.kind === 'text' ? '' : begin({ kind: 'text' }, '{"type":"text","text":""}');
        return `${head}${delta(`{"type":"text_delta","text":${JSON.stringify(event.text)}}`)}`;
      }
      case 'reasoning-delta': {
        if (!options.showsThinking) return '';
        const head =
          open?.kind === 'thinking'
            ? ''
            : begin({ kind: 'thinking' }, '{"type":"thinking","thinking":"","signature":""}');
        return `${head}${delta(`{"type":"thinking_delta","thinking":${JSON.stringify(event.text)}}`)}`;
      }
      case 'tool-call-start': {
        const head = `{"type":"tool_use","id":${JSON.stringify(event.id)},"name":${JSON.stringify(event.name)},"input":{}}`;
        if (open?.kind !== 'tool') return begin({ kind: 'tool', call: event.index }, head);
        waiting.set(event.index, { head, pieces: '', isEnded: false });
        return '';
      }
      case 'tool-call-delta':
        return callPiece(event.index, event.arguments);
      case 'tool-call-end': {
        if (open?.kind === 'tool' && open.call === event.index) return close() + callsThatWaited();
        const late = waiting.get(event.index);
        if (late) late.isEnded = true;
        return '';
      }
      case 'usage':
        usage = event.usage;
        return '';
      case 'finish': {
        const reason = stopReasonOf(event.reason, event.stopSequence);
        const ended = JSON.stringify({ stop_reason: reason, stop_sequence: event.stopSequence ?? null });
        return [
          close(),
          callsThatWaited(),
          close(),
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

  return {
    // A ping is part of the dialect, but not before message_start.
    get keepAlive() {
      return isStarted ? sse('ping', '') : ': keep-alive\n\n';
    },
    encode(events) {
      let text = '';
      for (const event of events) {
        const isShown = event.type !== 'start' && event.type !== 'usage' && event.type !== 'error';
        if (isShown && !isStarted) {
          isStarted = true;
          text += messageStart(identity, usage);
        }
        text += encodeOne(event);
      }
      return text;
    },
  };
}

function messageStart(identity: AnswerIdentity, usage: Usage | undefined): string {
  const message = {
    id: identity.id,
    type: 'message',
    role: 'assistant',
    model: identity.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { ...encodeUsage(usage), output_tokens: 0 },
  };
  return sse('message_start', `"message":${JSON.stringify(message)}`);
}

function inputDelta(text: string): string {
  return `{"type":"input_json_delta","partial_json":${JSON.stringify(text)}}`;
}

/** One event; `fields` are further JSON members. */
function sse(type: string, fields: string): string {
  return `event: ${type}\ndata: {"type":"${type}"${fields === '' ? '' : `,${fields}`}}\n\n`;
}
