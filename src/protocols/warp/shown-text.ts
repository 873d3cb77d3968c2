import type { TurnEvent } from '../../core/turn.ts';
import type { Message } from './gen/warp_pb.js';

/** What the client has seen of one message. */
export interface Shown {
  isReasoning: boolean;
  text: string;
  /** `even`: all of it is shown. `behind`: shorter than what was shown. `lost`: it says something else by now. */
  state: 'even' | 'behind' | 'lost';
  hasSpoken: boolean;
}

/**
 * Turns changes of messages into text and reasoning events. What was shown cannot be taken back: a message that no
 * longer begins with it stays silent until it does again.
 */
export class ShownText {
  readonly #show: (event: TurnEvent) => void;
  readonly #onRewrite: () => void;
  #hasText = false;
  #hasReasoning = false;

  constructor(show: (event: TurnEvent) => void, onRewrite: () => void) {
    this.#show = show;
    this.#onRewrite = onRewrite;
  }

  /** The message was `even` or not before `delta` was added to its end; constant time while it is. */
  append(shown: Shown, message: Message, delta: string): void {
    if (shown.state === 'even') {
      shown.text += delta;
      this.#say(shown, delta);
    } else if (shown.state === 'behind') this.settle(shown, message);
  }

  /** The message changed in any way. */
  settle(shown: Shown, message: Message): void {
    const kind = message.message.case;
    if (kind !== 'agentOutput' && kind !== 'agentReasoning') return;
    const isReasoning = kind === 'agentReasoning';
    if (isReasoning !== shown.isReasoning) {
      shown.isReasoning = isReasoning;
      shown.text = '';
      shown.hasSpoken = false;
    }
    const value = visibleText(message);
    if (value.startsWith(shown.text)) {
      const suffix = value.slice(shown.text.length);
      shown.text = value;
      shown.state = 'even';
      this.#say(shown, suffix);
      return;
    }
    if (shown.state === 'even') this.#onRewrite();
    shown.state = shown.text.startsWith(value) ? 'behind' : 'lost';
  }

  #say(shown: Shown, text: string): void {
    if (text === '') return;
    const isParagraph = !shown.hasSpoken && (shown.isReasoning ? this.#hasReasoning : this.#hasText);
    shown.hasSpoken = true;
    if (shown.isReasoning) this.#hasReasoning = true;
    else this.#hasText = true;
    this.#show({
      type: shown.isReasoning ? 'reasoning-delta' : 'text-delta',
      text: isParagraph ? `\n\n${text}` : text,
    });
  }
}

/** Nothing of the message was shown yet, or, for a message of an earlier turn, all that it says now. */
export function createShown(message: Message, isNew: boolean): Shown {
  return {
    isReasoning: message.message.case === 'agentReasoning',
    text: isNew ? '' : visibleText(message),
    state: 'even',
    hasSpoken: false,
  };
}

function visibleText(message: Message): string {
  switch (message.message.case) {
    case 'agentOutput':
      return message.message.value.text ?? '';
    case 'agentReasoning':
      return message.message.value.reasoning ?? '';
    default:
      return '';
  }
}
