import type { AnswerIdentity, StreamEncoder } from '../../core/protocol.ts';
import { beginsNothing, type Citation, type ToolCall, type TurnEvent, type Usage } from '../../core/turn.ts';
import type { GeminiOptions } from './decode-request.ts';
import {
  blockedPrompt,
  encodeGeminiError,
  finishReasonOf,
  functionCallOf,
  groundingOf,
  type SaidPart,
  tailOf,
  wholeCalls,
} from './encode-answer.ts';
import { signatureOf } from './signature.ts';
import type { StreamFrames } from './stream-frames.ts';

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
  /** Those that were not shown yet: each waits until it is whole, and those before it. */
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
  const say = (part: SaidPart): string => frames.frame(open + JSON.stringify(part) + close);

  function endCall(ended: number): string {
    const call = calls.get(ended);
    if (call) call.isWhole = true;
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
    keepAlive: frames.keepAlive,
    encode(events) {
      let text = '';
      for (const event of events) {
        if (event.type === 'relayed') {
          isRelayed = true;
          text += frames.relay(event.text);
        } else if (!isRelayed || event.type === 'error') {
          text += encodeOne(event);
          isBegun ||= !beginsNothing(event);
        } else if (event.type === 'finish') text += frames.end();
      }
      return text;
    },
  };
}
