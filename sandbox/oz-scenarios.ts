// How a cloud agent run of the sandbox goes, scenario by scenario, from the vendor's description of its API.

export type RunState =
  | 'QUEUED'
  | 'PENDING'
  | 'CLAIMED'
  | 'INPROGRESS'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'BLOCKED'
  | 'ERROR'
  | 'CANCELLED';

/** A run begins in the first of these and is in each from its time on, in milliseconds. */
export type Timeline = readonly { readonly fromMs: number; readonly state: RunState }[];

/** A problem as RFC 7807 has it. */
export interface OzProblem {
  readonly status: number;
  /** As the vendor's list of errors calls it. */
  readonly code: string;
  readonly title: string;
  readonly detail?: string;
  readonly retryable: boolean;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface OzScenario {
  /** The model id that chooses it. */
  readonly model: string;
  readonly description: string;
  readonly clientSees: string;
  readonly timeline: Timeline;
  /** Refuses to begin a run. */
  readonly refusal?: OzProblem;
  /** Of a run that ends badly. */
  readonly errorCode?: string;
  /** What the agent has said after so many milliseconds of work; absent: it says `You said: PROMPT`. */
  readonly said?: (prompt: string, workedMs: number) => readonly string[];
  /** The answer that tells of the new run is lost, though the run has begun. */
  readonly losesAnswer?: boolean;
  /** Every second look at a run fails. */
  readonly isFlaky?: boolean;
  /** How the conversation is kept back. */
  readonly conversation?: 'absent' | 'unsupported';
}

const soon: Timeline = [
  { fromMs: 0, state: 'QUEUED' },
  { fromMs: 50, state: 'PENDING' },
  { fromMs: 100, state: 'CLAIMED' },
  { fromMs: 150, state: 'INPROGRESS' },
];
const workedFromMs = 150;
const endingIn = (state: RunState, fromMs = 600): Timeline => [...soon, { fromMs, state }];
const partOfIt = (): readonly string[] => ['The first part of an answer'];

function refusing(
  name: string,
  status: number,
  code: string,
  title: string,
  clientSees: string,
  more: { retryable?: boolean; headers?: Record<string, string> } = {},
): OzScenario {
  const { retryable = false, headers } = more;
  return {
    model: `oz-${name}`,
    description: `no run: ${status} ${code}`,
    clientSees,
    timeline: soon,
    refusal: { status, code, title, retryable, ...(headers && { headers }) },
  };
}

function failing(
  name: string,
  state: RunState,
  errorCode: string | undefined,
  clientSees: string,
  timeline: Timeline = endingIn(state),
): OzScenario {
  const why = errorCode === undefined ? '' : ` with ${errorCode}`;
  return {
    model: `oz-${name}`,
    description: `the run becomes ${state}${why}`,
    clientSees,
    timeline,
    ...(errorCode === undefined ? {} : { errorCode }),
  };
}

/** Longest silence of `oz-slow`, and the pace of `oz-growing`. */
const slowMs = 3_000;
const tickMs = 400;

export const ozScenarios: readonly OzScenario[] = [
  {
    model: 'oz',
    description: 'a run that succeeds within a second',
    clientSees: 'the answer',
    timeline: endingIn('SUCCEEDED'),
  },
  {
    model: 'oz-steps',
    description: 'the agent announces its work, runs a command, delegates, then answers',
    clientSees: 'the announcement and the answer, a blank line between',
    timeline: endingIn('SUCCEEDED'),
    said: (prompt) => ['I will look into it.', `You said: ${prompt}`],
  },
  {
    model: 'oz-echo',
    description: '`Working on it.`, then the prompt alone as a message of its own',
    clientSees: 'both; where JSON is asked for, the prompt alone',
    timeline: endingIn('SUCCEEDED'),
    said: (prompt) => ['Working on it.', prompt],
  },
  {
    model: 'oz-growing',
    description: '`tick 1 ` to `tick 10 `, one every 400 ms',
    clientSees: 'the ticks, some at a time',
    timeline: endingIn('SUCCEEDED', workedFromMs + 11 * tickMs),
    said: (_prompt, workedMs) => {
      const ticks = Math.min(10, Math.floor(workedMs / tickMs));
      return [Array.from({ length: ticks }, (_, index) => `tick ${index + 1} `).join('')];
    },
  },
  {
    model: 'oz-slow',
    description: 'works for 3 s without a word',
    clientSees: 'the answer after 3 s',
    timeline: endingIn('SUCCEEDED', workedFromMs + slowMs),
    said: (prompt, workedMs) => (workedMs < slowMs ? [] : [`You said: ${prompt}`]),
  },
  {
    model: 'oz-endless',
    description: 'a part of an answer, and no end',
    clientSees: 'the part, then nothing; a timeout in the end',
    timeline: soon,
    said: partOfIt,
  },
  {
    model: 'oz-queued',
    description: 'waits in the queue for ever',
    clientSees: 'nothing; a timeout in the end',
    timeline: [{ fromMs: 0, state: 'QUEUED' }],
  },
  {
    model: 'oz-pending',
    description: 'is prepared for 2 s, in which it cannot be cancelled, then works without an end',
    clientSees: 'nothing; a timeout in the end',
    timeline: [
      { fromMs: 0, state: 'PENDING' },
      { fromMs: 2_000, state: 'INPROGRESS' },
    ],
    said: () => [],
  },
  {
    model: 'oz-flaky',
    description: 'every second look at the run is answered with 503',
    clientSees: 'the answer',
    timeline: endingIn('SUCCEEDED', 1_500),
    isFlaky: true,
  },
  {
    model: 'oz-lost',
    description: 'the run begins, but the connection breaks before its id is told',
    clientSees: 'the answer, of one run',
    timeline: endingIn('SUCCEEDED'),
    losesAnswer: true,
  },
  {
    model: 'oz-rewritten',
    description: 'what was said is replaced at the end',
    clientSees: 'the first text, then an error; never a good end',
    timeline: endingIn('SUCCEEDED', 2_500),
    said: (prompt, workedMs) =>
      workedMs < 2_500 - workedFromMs ? ['This is taken back.'] : [`You said: ${prompt}`],
  },
  {
    model: 'oz-no-conversation',
    description: 'succeeds, but has no conversation',
    clientSees: 'an upstream error',
    timeline: endingIn('SUCCEEDED'),
    conversation: 'absent',
  },
  {
    model: 'oz-unsupported',
    description: 'succeeds, but its conversation has a form that cannot be read',
    clientSees: 'an upstream error',
    timeline: endingIn('SUCCEEDED'),
    conversation: 'unsupported',
  },
  failing('failed', 'FAILED', undefined, 'an upstream error'),
  failing(
    'setup',
    'FAILED',
    'environment_setup_failed',
    'invalid request, saying that the environment is at fault',
  ),
  failing('policy', 'FAILED', 'content_policy_violation', 'invalid request'),
  failing('no-room', 'ERROR', 'resource_unavailable', 'upstream unavailable', [
    { fromMs: 0, state: 'QUEUED' },
    { fromMs: 300, state: 'ERROR' },
  ]),
  failing('broken', 'ERROR', 'internal_error', 'upstream unavailable'),
  {
    ...failing(
      'credits-late',
      'FAILED',
      'insufficient_credits',
      'the partial text, then quota exhausted',
      endingIn('FAILED', 2_500),
    ),
    said: partOfIt,
  },
  failing('blocked', 'BLOCKED', undefined, 'invalid request, saying that nobody can answer the run'),
  failing('cancelled', 'CANCELLED', undefined, 'an upstream error'),
  refusing('400', 400, 'invalid_request', 'The request contains invalid parameters.', 'invalid request'),
  refusing('401', 401, 'authentication_required', 'Your API key is invalid.', 'upstream key refused'),
  refusing('403', 403, 'not_authorized', 'You do not have permission.', 'upstream refused'),
  refusing('plan', 403, 'feature_not_available', 'This needs a higher plan.', 'upstream refused'),
  refusing('credits', 403, 'insufficient_credits', 'No credits are left.', 'quota exhausted'),
  refusing('budget', 403, 'budget_exceeded', 'The budget has been reached.', 'quota exhausted'),
  refusing('404', 404, 'resource_not_found', 'The resource was not found.', 'invalid request'),
  refusing('content', 403, 'content_policy_violation', 'Unable to start cloud agent.', 'invalid request'),
  refusing('capacity', 429, 'resource_unavailable', 'Agent capacity is full.', 'rate limited', {
    retryable: true,
    headers: { 'retry-after': '3', 'x-warp-error-code': 'AT_CLOUD_AGENT_CAPACITY' },
  }),
  refusing('sandbox', 500, 'resource_unavailable', 'No sandbox could be created.', 'upstream unavailable', {
    retryable: true,
  }),
  refusing('500', 500, 'internal_error', 'An unexpected error occurred.', 'upstream unavailable', {
    retryable: true,
  }),
];

/** Names that only a key can have, and that meet every call. */
export const ozKeyRefusals: Readonly<Record<'revoked' | 'refused', OzProblem>> = {
  revoked: {
    status: 401,
    code: 'authentication_required',
    title: 'Your API key is invalid.',
    retryable: false,
  },
  refused: { status: 403, code: 'not_authorized', title: 'You do not have permission.', retryable: false },
};

export function stateAt(timeline: Timeline, ageMs: number): RunState {
  return timeline.findLast(({ fromMs }) => fromMs <= ageMs)?.state ?? 'QUEUED';
}

/** Milliseconds of work after so many of life. */
export function workedAt(timeline: Timeline, ageMs: number): number {
  const from = timeline.find(({ state }) => state === 'INPROGRESS')?.fromMs;
  return from === undefined ? 0 : Math.max(0, ageMs - from);
}

/** By the key's own word, `wk-ANYTHING.NAME`, before the model's. */
export function ozScenarioFor(bearer: string, model: string | undefined): OzScenario {
  const [plain] = ozScenarios;
  const wish = bearer.startsWith('wk-') && bearer.includes('.') ? bearer.slice(bearer.indexOf('.') + 1) : '';
  const found =
    ozScenarios.find((scenario) => scenario.model === `oz-${wish}`) ??
    ozScenarios.find((scenario) => scenario.model === model) ??
    plain;
  if (!found) throw new Error('there are no scenarios');
  return found;
}
