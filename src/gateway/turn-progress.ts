import type { FinishReason, TurnEvent, Usage } from '../core/turn.ts';

/** What one attempt has brought so far. */
export interface TurnProgress {
  /** The client has seen some of the answer, so that no other account may begin it anew. */
  isContentSent: boolean;
  firstContentAt: number | undefined;
  text: string;
  reasoning: string;
  toolCalls: { id: string; name: string; arguments: string }[];
  /** Characters of all that was produced: text, reasoning and calls. */
  outputCharacters: number;
  usage: Usage | undefined;
  finish: FinishReason | undefined;
}

export function emptyProgress(): TurnProgress {
  return {
    isContentSent: false,
    firstContentAt: undefined,
    text: '',
    reasoning: '',
    toolCalls: [],
    outputCharacters: 0,
    usage: undefined,
    finish: undefined,
  };
}

/** Takes a batch in. True when it holds content. */
export function noteEvents(progress: TurnProgress, events: readonly TurnEvent[]): boolean {
  let hasContent = false;
  for (const event of events) {
    switch (event.type) {
      case 'text-delta':
        progress.text += event.text;
        progress.outputCharacters += event.text.length;
        hasContent = true;
        break;
      case 'reasoning-delta':
        progress.reasoning += event.text;
        progress.outputCharacters += event.text.length;
        hasContent = true;
        break;
      case 'tool-call-start':
        progress.toolCalls.push({ id: event.id, name: event.name, arguments: '' });
        progress.outputCharacters += event.name.length;
        hasContent = true;
        break;
      case 'tool-call-delta': {
        const call = progress.toolCalls[event.index];
        if (call) call.arguments += event.arguments;
        progress.outputCharacters += event.arguments.length;
        break;
      }
      case 'usage':
        progress.usage = event.usage;
        break;
      case 'finish':
        progress.finish = event.reason;
        break;
      default:
    }
  }
  return hasContent;
}
