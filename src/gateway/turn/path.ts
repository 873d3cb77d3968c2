import type { Delivery } from '../../core/configured-routes.ts';
import type { AppError, SendAgain } from '../../core/errors.ts';
import type { CollectedTurn } from '../../core/protocol.ts';
import type { AskedRequest, Usage } from '../../core/turn.ts';
import { onceKnown } from '../../lib/tasks.ts';
import { PoolError } from '../../pool-api/errors.ts';
import { type AnswerCheck, checksOf, type Fault, sentBack } from '../emulation/checked-answer.ts';
import type { OutputCap } from '../models/known-refusals.ts';
import type { Session } from './affinity.ts';
import { isAboutOthers } from './app-errors.ts';
import type { Candidate } from './candidates.ts';
import type { ClientTurn, TurnDependencies } from './client-turns.ts';
import type { Conversation } from './conversations.ts';
import {
  type BrokenAnswer,
  BufferedOutput,
  ContinuedOutput,
  HeldOutput,
  prefilled,
  type TurnOutput,
} from './turn-output.ts';

/** How a turn reaches an upstream, and what its attempts there are made with. */
export interface Path extends Candidate {
  /** The same with the request as it came. */
  readonly candidate: Candidate;
  /** With the upstream's model name and the instructions of the checks. */
  readonly request: AskedRequest;
  readonly conversation: Conversation;
  readonly session: Session | undefined;
  readonly output: TurnOutput;
  readonly checks: readonly AnswerCheck[];
  /** What of the request is not checked, as paths. */
  readonly unchecked: readonly string[];
  /** Milliseconds until its first content; undefined: only the usual limits apply. */
  firstContentMs: number | undefined;
  /** The same until any answer of the upstream, where a turn is one exchange. */
  firstWordMs: number | undefined;
  /** In which other ways an attempt is sent than was asked for: what was refused in this turn, or by its account before. */
  changes: ReadonlySet<SendAgain['how']>;
  /** The longest answer that the upstream is asked for, where that is less than the request would ask for. */
  outputCap: OutputCap | undefined;
  /** What was refused in this turn, and sent in another way since. */
  readonly refusals: { readonly sendAgain: SendAgain; readonly accountId: string }[];
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

/** A promise where a conversation is looked for: its upstream remembers them. */
export function pathTo(
  { conversations, affinity, schemas, refusals }: TurnDependencies,
  { client, affinityKey, bytes }: ClientTurn,
  candidate: Candidate,
  soFar: SoFar,
  output: TurnOutput,
  delivery: Delivery,
): Path | Promise<Path> {
  const { route, handling } = candidate;
  const { emulated } = handling;
  const { broken } = soFar;
  const isPrefilled = broken !== undefined && broken.text !== '' && route.takesPrefill === true;
  const whole = withRejected(candidate, soFar);
  const asked = isPrefilled ? prefilled(whole, broken) : whole;
  const checks = emulated.size === 0 ? [] : checksOf(asked, emulated, schemas, client.id);
  const request = checks.reduce((instructed, check) => check.instruct(instructed), asked);
  const { name: provider, outbound } = route.provider;
  const found = outbound?.hasMemory
    ? conversations.find(client.id, provider, request, bytes)
    : conversations.unremembered(client.id, request);
  return onceKnown(found, (conversation) => ({
    ...candidate,
    candidate,
    request,
    conversation,
    session: affinityKey === undefined ? undefined : affinity.sessionOf(client.id, provider, affinityKey),
    checks,
    unchecked: checks.length === 0 ? [] : checks.flatMap((check) => check.unchecked ?? []),
    output: broken
      ? new ContinuedOutput(output, broken, isPrefilled)
      : outputFor(output, checks.length > 0, delivery),
    firstContentMs: undefined,
    firstWordMs: undefined,
    changes: new Set(),
    outputCap: candidate.relayed ? undefined : refusals.below(outputTokensOf(request, candidate), route),
    refusals: [],
    isRefused: false,
    isLeft: false,
    shortage: undefined,
  }));
}

/** How long an answer the upstream is asked for, where nothing is known of its limits. */
function outputTokensOf(
  request: AskedRequest,
  { route, handling }: Pick<Path, 'route' | 'handling'>,
): number | undefined {
  const { outputTokensOf: sent } = route.provider.outbound ?? {};
  if (sent) return sent(request);
  return handling.native.has('maxTokens') ? request.limits.maxOutputTokens : undefined;
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

const changeWords: Readonly<Record<SendAgain['how'], string>> = {
  'without-proofs': 'the account cannot read the reasoning given back; sending the turn without it',
  'with-reasoning': 'the upstream wants reasoning with every answer; sending the turn with it',
  'without-effort': 'the model takes tools only where it does not reason; sending the turn without an effort',
  'without-summary': 'the account may not ask for summaries of reasoning; sending the turn without',
  shorter: 'the upstream takes no answer as long as was asked for; asking for a shorter one',
};

/** What an upstream refused is sent in another way, in each once. Returns the change. */
export function changed(
  path: Path,
  { code, isFinal, sendAgain }: AppError,
  accountId: string,
): string | undefined {
  if (sendAgain && isChangedBy(path, sendAgain)) {
    path.refusals.push({ sendAgain, accountId });
    return changeWords[sendAgain.how];
  }
  if (code !== 'invalid_request' || isFinal || !path.conversation.beginAnew()) return undefined;
  return 'the upstream rejected the conversation; resending the full history';
}

/** A relayed request keeps what its client asked for, and loses only what it gave back. */
function isChangedBy(path: Path, sendAgain: SendAgain): boolean {
  const { changes, relayed, request, handling, outputCap } = path;
  switch (sendAgain.how) {
    case 'shorter': {
      if (relayed || outputCap?.from === 'refusal') return false;
      const asked = outputCap?.tokens ?? outputTokensOf(request, path) ?? Number.POSITIVE_INFINITY;
      if (sendAgain.mostOutputTokens >= asked) return false;
      path.outputCap = { tokens: sendAgain.mostOutputTokens, from: 'refusal' };
      return true;
    }
    case 'without-effort':
      if (relayed || !handling.native.has('reasoningEffort')) return false;
      break;
    case 'without-summary':
      if (relayed || !request.reasoning.isAsked) return false;
      break;
  }
  return !changes.has(sendAgain.how);
}
