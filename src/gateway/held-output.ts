import type { CollectedTurn } from '../core/protocol.ts';
import type { FinishReason, TurnEvent, Usage } from '../core/turn.ts';
import type { TurnOutput } from './attempt.ts';
import { collect, emptyCollection } from './collect-turn.ts';

/** An answer nobody has seen yet. */
export interface HeldAnswer extends Pick<CollectedTurn, 'text' | 'toolCalls'> {
  /** Undefined when it ended with an error, or not at all. */
  readonly finish: FinishReason | undefined;
  /** It was cut at a stop sequence. */
  readonly isCutAtStop: boolean;
}

export interface HeldOutput extends TurnOutput, HeldAnswer {
  /** As far as the client would see it. */
  readonly usage: Usage | undefined;
  /** Sends what was held, with another text or usage where one is given. */
  passOn(instead: { readonly text?: string | undefined; readonly usage?: Usage | undefined }): void;
}

/** Holds an answer back until it is whole. */
export function createHeldOutput(output: TurnOutput): HeldOutput {
  let events: TurnEvent[] = [];
  let collected = emptyCollection();

  function hold(event: TurnEvent): void {
    const last = events[events.length - 1];
    // An answer of a million pieces would cost many times its text.
    if (event.type === 'text-delta' && last?.type === 'text-delta') {
      events[events.length - 1] = { type: 'text-delta', text: last.text + event.text };
    } else if (event.type === 'reasoning-delta' && last?.type === 'reasoning-delta') {
      events[events.length - 1] = { type: 'reasoning-delta', text: last.text + event.text };
    } else events.push(event);
  }

  return {
    isBuffered: true,
    resume: undefined,
    onRoute(route) {
      events = [];
      collected = emptyCollection();
      output.onRoute(route);
    },
    write(batch) {
      for (const event of batch) {
        hold(event);
        collect(collected, event);
      }
      return true;
    },
    get text() {
      return collected.text;
    },
    get toolCalls() {
      return collected.toolCalls;
    },
    get usage() {
      return collected.usage;
    },
    get finish() {
      return collected.finishReason;
    },
    get isCutAtStop() {
      return collected.stopSequence !== undefined;
    },
    passOn({ text, usage }) {
      const passed = events.filter(
        ({ type }) =>
          !(text !== undefined && type === 'text-delta') && !(usage !== undefined && type === 'usage'),
      );
      const last = passed.pop();
      if (last === undefined) return;
      if (text !== undefined) passed.push({ type: 'text-delta', text });
      if (usage !== undefined && last.type === 'finish') passed.push({ type: 'usage', usage });
      output.write([...passed, last]);
    },
  };
}
