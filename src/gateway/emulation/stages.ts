import type { EmulatedAbility } from '../../core/capabilities.ts';
import { AppError } from '../../core/errors.ts';
import type { AskedRequest, TurnEvent, TurnRequest } from '../../core/turn.ts';
import { createOutputLimit } from './output-limit.ts';
import { createStopSequences } from './stop-sequences.ts';

/** Something the client asked for that the upstream does not do: changes the events on their way. */
export interface Stage {
  /** A batch whose last event is a terminal one that the upstream did not send ends the answer there. */
  apply(events: readonly TurnEvent[]): readonly TurnEvent[];
  /** A call was left out: the upstream waits for more results than the client will ever send. */
  readonly hasDropped?: boolean;
}

/** The stages that one try of a request passes, in their order. Most requests need none. */
export function stagesOf(request: AskedRequest, emulated: ReadonlySet<EmulatedAbility>): readonly Stage[] {
  const { limits, reasoning } = request;
  const { maxOutputTokens, stopSequences } = limits;
  const isReasoningHidden = reasoning.effort === 'none';
  const stages: Stage[] = [];
  if (isReasoningHidden) stages.push(hiddenReasoning);
  if (emulated.has('toolChoice') || emulated.has('parallelToolCalls')) {
    const limit = createToolCallLimit(request);
    if (limit) stages.push(limit);
  }
  if (stopSequences && emulated.has('stop')) stages.push(createStopSequences(stopSequences));
  if (maxOutputTokens !== undefined && emulated.has('maxTokens')) {
    stages.push(createOutputLimit(maxOutputTokens, reasoning.isAsked === true && !isReasoningHidden));
  }
  return stages;
}

const hiddenReasoning: Stage = {
  apply: (events) => events.filter(({ type }) => type !== 'reasoning-delta'),
};

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

  const stage = {
    hasDropped: false,
    apply(events: readonly TurnEvent[]): readonly TurnEvent[] {
      const kept = events.filter((event) => !isTooMany(event));
      if (kept.length === events.length) return events;
      stage.hasDropped = true;
      return kept;
    },
  };
  return stage;
}
