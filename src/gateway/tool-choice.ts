import { AppError } from '../core/errors.ts';
import type { ToolChoice, TurnEvent, TurnRequest } from '../core/turn.ts';
import type { AnswerCheck, Fault } from './checked-answer.ts';
import type { Stage } from './emulation.ts';

/**
 * Holds an answer to as many calls as the client takes: none, or one where it does not run calls side by side. The first
 * call is passed on and the others are left out: the model can make them again once it has seen the first one's result.
 * Where none is allowed, the batch ends with an error instead. Undefined where there is nothing to hold it to.
 */
export function createToolCallLimit({
  toolChoice,
  parallelToolCalls,
}: Pick<TurnRequest, 'toolChoice' | 'parallelToolCalls'>): Stage | undefined {
  if (toolChoice.type === 'none') return noCalls;
  return parallelToolCalls ? undefined : createFirstCallOnly();
}

const noCalls: Stage = {
  apply(events) {
    const at = events.findIndex(({ type }) => type === 'tool-call-start');
    if (at === -1) return events;
    const message = 'The model called a tool although tool_choice is "none"; try again.';
    // The model would do it on any account, and each try may be charged.
    const error = new AppError('upstream_protocol', message, { fault: 'model', failover: 'no' });
    return [...events.slice(0, at), { type: 'error', error }];
  },
};

function createFirstCallOnly(): Stage {
  let first: number | undefined;
  let hasDropped = false;

  function isTooMany(event: TurnEvent): boolean {
    switch (event.type) {
      case 'tool-call-start':
        first ??= event.index;
        return event.index !== first;
      case 'tool-call-delta':
      case 'tool-call-end':
        return event.index !== first;
      default:
        return false;
    }
  }

  return {
    get hasDropped() {
      return hasDropped;
    },
    apply(events) {
      const kept = events.filter((event) => !isTooMany(event));
      if (kept.length === events.length) return events;
      hasDropped = true;
      return kept;
    },
  };
}

/**
 * An answer that has to call a tool: any one, or a certain one and no other. The adapters tell the model so in their own
 * words. Undefined where a call is up to the model.
 */
export function createCallCheck(choice: ToolChoice): AnswerCheck | undefined {
  if (choice.type !== 'required' && choice.type !== 'tool') return undefined;
  const fault = choice.type === 'required' ? noCall : notThatCall(choice.name);
  return {
    instruct: (request) => request,
    async judge({ toolCalls }) {
      const isAsAsked =
        toolCalls.length > 0 &&
        (choice.type === 'required' || toolCalls.every(({ name }) => name === choice.name));
      return isAsAsked ? {} : { fault };
    },
  };
}

const noCall: Fault = {
  mend: 'You called no tool, and this answer has to be a call. Call one of the tools now.',
  error: 'The model did not call a tool, as tool_choice asks, although it was told twice; try again.',
};

function notThatCall(name: string): Fault {
  return {
    mend: `This answer has to be a call of the tool ${JSON.stringify(name)}, and of no other. Call the tool ${JSON.stringify(name)} now.`,
    error: `The model did not call the tool ${JSON.stringify(name)}, as tool_choice asks, although it was told twice; try again.`,
  };
}
