import type { TurnEvent } from '../../core/turn.ts';

type CallStart = Extract<TurnEvent, { type: 'tool-call-start' }>;

/** One that began while another was open. */
interface WaitingCall {
  readonly start: CallStart;
  arguments: string;
  isEnded: boolean;
}

/**
 * The events of an answer in an order in which its calls never overlap: clients add what comes to the item that began
 * last. What comes of anything else while a call is open waits until that call has ended.
 */
export class CallsInTurn {
  readonly #pass: (event: TurnEvent) => void;
  #open: number | undefined;
  #waiting: (TurnEvent | WaitingCall)[] = [];
  /** The first of them that has not gone on. Moving the others up for each costs minutes where there are very many. */
  #next = 0;
  readonly #waitingCalls = new Map<number, WaitingCall>();

  constructor(pass: (event: TurnEvent) => void) {
    this.#pass = pass;
  }

  push(event: TurnEvent): void {
    if (this.#open !== undefined && this.#isKept(event, this.#open)) return;
    // Calls that an answer was cut in never end.
    if (event.type === 'finish') while (this.#goOn());
    if (event.type === 'tool-call-start') this.#open = event.index;
    this.#pass(event);
    if (event.type !== 'tool-call-end' || event.index !== this.#open) return;
    this.#open = undefined;
    while (this.#open === undefined && this.#goOn());
  }

  #isKept(event: TurnEvent, open: number): boolean {
    switch (event.type) {
      case 'tool-call-start': {
        const call = { start: event, arguments: '', isEnded: false };
        this.#waiting.push(call);
        this.#waitingCalls.set(event.index, call);
        return true;
      }
      case 'tool-call-delta':
      case 'tool-call-end': {
        if (event.index === open) return false;
        const call = this.#waitingCalls.get(event.index);
        if (call && event.type === 'tool-call-delta') call.arguments += event.arguments;
        else if (call) call.isEnded = true;
        return true;
      }
      case 'text-delta':
      case 'refusal-delta':
      case 'reasoning-delta':
      case 'reasoning-proof':
      case 'citation':
        this.#waiting.push(event);
        return true;
      default:
        return false;
    }
  }

  /** With the first that waits. False: nothing does. */
  #goOn(): boolean {
    const next = this.#waiting[this.#next];
    this.#next += 1;
    if (next === undefined) {
      this.#waiting = [];
      this.#next = 0;
      return false;
    }
    if ('type' in next) {
      this.#pass(next);
      return true;
    }
    const { index } = next.start;
    this.#waitingCalls.delete(index);
    this.#pass(next.start);
    if (next.arguments !== '') this.#pass({ type: 'tool-call-delta', index, arguments: next.arguments });
    if (next.isEnded) this.#pass({ type: 'tool-call-end', index });
    else this.#open = index;
    return true;
  }
}
