import type { CollectedTurn } from '../core/protocol.ts';
import type { FinishReason, TurnEvent, Usage } from '../core/turn.ts';

/** What an answer that is not passed on as it comes has brought so far. */
export interface Collection {
  text: string;
  reasoning: string;
  toolCalls: { id: string; name: string; arguments: string }[];
  usage: Usage | undefined;
  finishReason: FinishReason | undefined;
  stopSequence: string | undefined;
}

export function emptyCollection(): Collection {
  return {
    text: '',
    reasoning: '',
    toolCalls: [],
    usage: undefined,
    finishReason: undefined,
    stopSequence: undefined,
  };
}

/** The answer, once it has come to its finish. */
export function wholeOf({ finishReason, stopSequence, ...rest }: Collection): CollectedTurn | undefined {
  if (finishReason === undefined) return undefined;
  return { ...rest, finishReason, ...(stopSequence === undefined ? {} : { stopSequence }) };
}

export function collect(into: Collection, event: TurnEvent): void {
  switch (event.type) {
    case 'text-delta':
      into.text += event.text;
      break;
    case 'reasoning-delta':
      into.reasoning += event.text;
      break;
    case 'tool-call-start':
      into.toolCalls.push({ id: event.id, name: event.name, arguments: '' });
      break;
    case 'tool-call-delta': {
      const call = into.toolCalls[event.index];
      if (call) call.arguments += event.arguments;
      break;
    }
    case 'usage':
      into.usage = event.usage;
      break;
    case 'finish':
      into.finishReason = event.reason;
      into.stopSequence = event.stopSequence;
      break;
    default:
  }
}
