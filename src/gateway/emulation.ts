import type { EmulatedAbility } from '../core/capabilities.ts';
import type { AskedRequest, TurnEvent } from '../core/turn.ts';
import type { AnswerCheck } from './checked-answer.ts';
import { createJsonCheck } from './json-check.ts';
import { createOutputLimit } from './output-limit.ts';
import type { SchemaChecker } from './schema-checker.ts';
import { createStopSequences } from './stop-sequences.ts';
import { createCallCheck, createToolCallLimit } from './tool-choice.ts';

/** Something the client asked for that the upstream does not do: changes the events on their way. */
export interface Stage {
  /** A batch whose last event is a terminal one that the upstream did not send ends the answer there. */
  apply(events: readonly TurnEvent[]): readonly TurnEvent[];
  /** A call was left out: the upstream waits for more results than the client will ever send. */
  readonly hasDropped?: boolean;
}

type Emulated = ReadonlySet<EmulatedAbility>;

/** The stages that one try of a request passes, in their order. Most requests need none. */
export function stagesOf(
  { limits, reasoning, ...request }: AskedRequest,
  emulated: Emulated,
): readonly Stage[] {
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

/** What is checked of the whole answer to a request. Where anything is, the client sees nothing of it before. */
export function checksOf(
  { toolChoice, responseFormat }: AskedRequest,
  emulated: Emulated,
  schemas: SchemaChecker,
  clientId: string,
): readonly AnswerCheck[] {
  const checks: AnswerCheck[] = [];
  if (emulated.has('toolChoice')) {
    const check = createCallCheck(toolChoice);
    if (check) checks.push(check);
  }
  if (responseFormat.type !== 'text' && (emulated.has('jsonObject') || emulated.has('jsonSchema'))) {
    checks.push(createJsonCheck(responseFormat, schemas, clientId));
  }
  return checks;
}

const hiddenReasoning: Stage = {
  apply: (events) => events.filter(({ type }) => type !== 'reasoning-delta'),
};
