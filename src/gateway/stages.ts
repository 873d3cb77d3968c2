import { type Capabilities, handlingOf } from '../core/capabilities.ts';
import type { AskedRequest, TurnEvent } from '../core/turn.ts';
import { createOutputLimit } from './output-limit.ts';
import { createStopSequences } from './stop-sequences.ts';
import { createToolCallLimit } from './tool-call-limit.ts';

/** Something the client asked for that the upstream does not do: changes the events on their way. */
export interface Stage {
  /** A batch whose last event is a terminal one that the upstream did not send ends the answer there. */
  apply(events: readonly TurnEvent[]): readonly TurnEvent[];
  /** A call was left out: the upstream waits for more results than the client will ever send. */
  readonly hasDropped?: boolean;
}

/** The stages an answer passes on its way from an upstream of these capabilities, in their order. Most requests need none. */
export function stagesOf(request: AskedRequest, capabilities: Capabilities): readonly Stage[] {
  const { maxOutputTokens, stopSequences } = request.limits;
  const { effort, isAsked = false } = request.reasoning;
  const isReasoningHidden = effort === 'none';
  const { emulated } = handlingOf(request, capabilities);
  const stages: (Stage | undefined)[] = [];
  if (isReasoningHidden) stages.push(hiddenReasoning);
  if (emulated.has('toolChoice') || emulated.has('parallelToolCalls'))
    stages.push(createToolCallLimit(request));
  if (stopSequences && emulated.has('stop')) stages.push(createStopSequences(stopSequences));
  if (maxOutputTokens !== undefined && emulated.has('maxTokens')) {
    stages.push(createOutputLimit(maxOutputTokens, isAsked && !isReasoningHidden));
  }
  return stages.filter((stage) => stage !== undefined);
}

const hiddenReasoning: Stage = {
  apply: (events) => events.filter(({ type }) => type !== 'reasoning-delta'),
};
