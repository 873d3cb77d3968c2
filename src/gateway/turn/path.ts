import type { Delivery } from '../../core/configured-routes.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { AskedRequest, Usage } from '../../core/turn.ts';
import { type AnswerCheck, checksOf, type Fault, sentBack } from '../emulation/checked-answer.ts';
import type { SchemaChecker } from '../emulation/json-schema.ts';
import type { Affinity, Session } from './affinity.ts';
import type { AttemptPlan } from './attempt.ts';
import type { Candidate } from './candidates.ts';
import type { ClientTurn } from './client-turns.ts';
import { type BrokenAnswer, ContinuedOutput, prefilled } from './continued-output.ts';
import type { Conversations } from './conversations.ts';
import { BufferedOutput, HeldOutput, type TurnOutput } from './turn-output.ts';

export interface PathDependencies {
  readonly conversations: Conversations;
  readonly affinity: Affinity;
  readonly schemas: SchemaChecker;
}

/** How a turn reaches an upstream. Its request has the instructions of the checks. */
export interface Path extends AttemptPlan {
  readonly session: Session | undefined;
  readonly candidate: Candidate;
  readonly checks: readonly AnswerCheck[];
  firstContentMs: number | undefined;
  firstWordMs: number | undefined;
  leavesProofsOut: boolean;
  isRefused: boolean;
  /** No account of it is tried any more. */
  isLeft: boolean;
  /** Why none of its accounts was lent. */
  shortage: Error | undefined;
}

/** An answer that was not as asked, and is sent back to the model. */
export interface Rejected {
  readonly answer: CollectedTurn;
  readonly fault: Fault;
  readonly usage: Usage | undefined;
}

/** What the turn has brought before. */
export interface SoFar {
  readonly rejected: Rejected | undefined;
  readonly broken: BrokenAnswer | undefined;
}

export async function pathTo(
  { conversations, affinity, schemas }: PathDependencies,
  { client, affinityKey, bytes }: ClientTurn,
  candidate: Candidate,
  soFar: SoFar,
  output: TurnOutput,
  delivery: Delivery,
): Promise<Path> {
  const { route, handling } = candidate;
  const { emulated } = handling;
  const { broken } = soFar;
  const isPrefilled = broken !== undefined && broken.text !== '' && route.takesPrefill === true;
  const whole = withRejected(candidate, soFar);
  const asked = isPrefilled ? prefilled(whole, broken) : whole;
  const checks = emulated.size === 0 ? [] : checksOf(asked, emulated, schemas, client.id);
  const request = checks.reduce((instructed, check) => check.instruct(instructed), asked);
  const provider = route.provider.name;
  const conversation = route.provider.outbound?.hasMemory
    ? await conversations.find(client.id, provider, request, bytes)
    : conversations.unremembered(client.id, request);
  return {
    route,
    request,
    candidate,
    images: candidate.images,
    relayed: candidate.relayed,
    conversation,
    session: affinityKey === undefined ? undefined : affinity.sessionOf(client.id, provider, affinityKey),
    handling,
    cachesPrompts: candidate.cachesPrompts,
    checks,
    unchecked: checks.flatMap((check) => check.unchecked ?? []),
    output: broken
      ? new ContinuedOutput(output, broken, isPrefilled)
      : outputFor(output, checks.length > 0, delivery),
    firstContentMs: undefined,
    firstWordMs: undefined,
    leavesProofsOut: false,
    isRefused: false,
    isLeft: false,
    shortage: undefined,
  };
}

/** The request with the upstream's model name, and with the answer that was not as asked. */
function withRejected({ request, relayed, route }: Candidate, { rejected }: SoFar): AskedRequest {
  const asked = { ...request, model: route.model };
  if (!rejected || relayed) return asked;
  return { ...asked, messages: [...request.messages, ...sentBack(rejected.answer, rejected.fault)] };
}

function outputFor(output: TurnOutput, isChecked: boolean, delivery: Delivery): TurnOutput {
  if (isChecked) return new BufferedOutput(output);
  return delivery === 'whole' && !output.isBuffered ? new HeldOutput(output) : output;
}
