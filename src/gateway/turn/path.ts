import type { Delivery } from '../../core/configured-routes.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { AskedRequest, Usage } from '../../core/turn.ts';
import { PoolError } from '../../pool-api/errors.ts';
import { type AnswerCheck, checksOf, type Fault, sentBack } from '../emulation/checked-answer.ts';
import type { SchemaChecker } from '../emulation/json-schema.ts';
import type { Affinity, Session } from './affinity.ts';
import { isAboutOthers } from './app-errors.ts';
import type { Candidate } from './candidates.ts';
import type { ClientTurn } from './client-turns.ts';
import { type BrokenAnswer, ContinuedOutput, prefilled } from './continued-output.ts';
import type { Conversation, Conversations } from './conversations.ts';
import { BufferedOutput, HeldOutput, type TurnOutput } from './turn-output.ts';

export interface PathDependencies {
  readonly conversations: Conversations;
  readonly affinity: Affinity;
  readonly schemas: SchemaChecker;
}

/** How a turn reaches an upstream, and what its attempts there are made with. */
export interface Path extends Candidate {
  /** The same with the request as it came. */
  readonly candidate: Candidate;
  /** With the upstream's model name and the instructions of the checks. */
  readonly request: AskedRequest;
  conversation: Conversation;
  readonly session: Session | undefined;
  readonly output: TurnOutput;
  readonly checks: readonly AnswerCheck[];
  /** What of the request is not checked, as paths. */
  readonly unchecked: readonly string[];
  /** Milliseconds until its first content; undefined: only the usual limits apply. */
  firstContentMs: number | undefined;
  /** The same until any answer of the upstream, where a turn is one exchange. */
  firstWordMs: number | undefined;
  /** The account cannot read what an upstream signed or encrypted of its reasoning. */
  leavesProofsOut: boolean;
  /** An account of it has refused the turn: only those take it again that were limited before. */
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

/** The way as to an upstream that remembers nothing. */
export function pathTo(
  { conversations, affinity, schemas }: PathDependencies,
  { client, affinityKey }: ClientTurn,
  candidate: Candidate,
  soFar: SoFar,
  output: TurnOutput,
  delivery: Delivery,
): Path {
  const { route, handling } = candidate;
  const { emulated } = handling;
  const { broken } = soFar;
  const isPrefilled = broken !== undefined && broken.text !== '' && route.takesPrefill === true;
  const whole = withRejected(candidate, soFar);
  const asked = isPrefilled ? prefilled(whole, broken) : whole;
  const checks = emulated.size === 0 ? [] : checksOf(asked, emulated, schemas, client.id);
  const request = checks.reduce((instructed, check) => check.instruct(instructed), asked);
  const provider = route.provider.name;
  return {
    ...candidate,
    candidate,
    request,
    conversation: conversations.unremembered(client.id, request),
    session: affinityKey === undefined ? undefined : affinity.sessionOf(client.id, provider, affinityKey),
    checks,
    unchecked: checks.length === 0 ? [] : checks.flatMap((check) => check.unchecked ?? []),
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

/** Looked for where its upstream remembers. */
export function conversationOn(
  { route, request, conversation }: Path,
  { conversations }: Pick<PathDependencies, 'conversations'>,
  { client, bytes }: ClientTurn,
): Conversation | Promise<Conversation> {
  const { name, outbound } = route.provider;
  return outbound?.hasMemory ? conversations.find(client.id, name, request, bytes) : conversation;
}

/** After how long the pool may have an account for it. */
export function waitAt({ shortage }: Path): number {
  const { retryAfterMs = Number.POSITIVE_INFINITY } = shortage instanceof PoolError ? shortage : {};
  return isAboutOthers(shortage) ? retryAfterMs : Number.POSITIVE_INFINITY;
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
