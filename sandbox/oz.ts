// The vendor's documented API of cloud agent runs, below /api/v1/agent. Written from its OpenAPI description alone.
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { createBoundedMap } from './bounded-map.ts';
import {
  type OzProblem,
  type OzScenario,
  ozKeyRefusals,
  ozScenarioFor,
  ozScenarios,
  type RunState,
  stateAt,
  workedAt,
} from './oz-scenarios.ts';
import type { Answer } from './token-faults.ts';

/** The calls, as the README and the tests name them. */
export const ozCalls = [
  'GET /api/v1/agent',
  'GET /api/v1/agent/models',
  'POST /api/v1/agent/run',
  'POST /api/v1/agent/runs',
  'GET /api/v1/agent/runs',
  'GET /api/v1/agent/runs/{id}',
  'GET /api/v1/agent/runs/{id}/conversation',
  'POST /api/v1/agent/runs/{id}/cancel',
] as const;

const attachmentSchema = z.strictObject({
  file_name: z.string().min(1),
  mime_type: z.enum(['image/jpeg', 'image/png', 'image/gif', 'image/webp']),
  data: z.base64(),
});
const bodySchema = z.strictObject({
  prompt: z.string().min(1),
  title: z.string().optional(),
  team: z.boolean().optional(),
  conversation_id: z.string().optional(),
  interactive: z.boolean().optional(),
  attachments: z.array(attachmentSchema).max(5).optional(),
  config: z
    .strictObject({
      name: z.string().optional(),
      model_id: z.string().optional(),
      base_prompt: z.string().optional(),
      environment_id: z.string().optional(),
      computer_use_enabled: z.boolean().optional(),
      idle_timeout_minutes: z.int().min(1).max(60).optional(),
      worker_host: z.string().optional(),
    })
    .optional(),
});

/** One run, as tests may look at it. */
export interface SandboxRun {
  readonly id: string;
  readonly bearer: string;
  readonly at: Date;
  readonly userAgent: string | undefined;
  readonly body: z.infer<typeof bodySchema>;
  readonly scenario: string;
  /** The path it was begun on: `/api/v1/agent/runs`, or the older `/api/v1/agent/run`. */
  readonly path: string;
  /** When it was cancelled over the API. */
  cancelledAt: Date | undefined;
  /** How often cancelling was asked for. */
  cancelCalls: number;
  /** How often it was looked at. */
  looks: number;
}

export interface OzRequest {
  readonly method: string;
  readonly url: URL;
  readonly bearer: string;
  readonly userAgent: string | undefined;
  readonly text: string;
}

export interface OzAnswer extends Answer {
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Oz {
  /** The last 1,000 runs, oldest first. */
  readonly runs: readonly SandboxRun[];
  /** From now on the older `POST /api/v1/agent/run` is 404. */
  retireOldPath(): void;
  /** Undefined for a path of somebody else's; `lost` where the connection is to break instead of an answer. */
  answer(request: OzRequest): OzAnswer | 'lost' | undefined;
}

const keptRuns = 1_000;
const documents = '/factories/api-and-sdk/troubleshooting/errors/';

export function createOz(): Oz {
  const runs = createBoundedMap<SandboxRun>(keptRuns);
  const order: SandboxRun[] = [];
  let isOldPathRetired = false;
  const scenarioOf = (run: SandboxRun): OzScenario => ozScenarioFor(run.bearer, run.body.config?.model_id);
  const ageOf = (run: SandboxRun): number => Date.now() - run.at.getTime();
  const stateOf = (run: SandboxRun): RunState =>
    run.cancelledAt ? 'CANCELLED' : stateAt(scenarioOf(run).timeline, ageOf(run));

  const begin = ({ bearer, text, userAgent, url }: OzRequest): OzAnswer | 'lost' => {
    const parsed = bodySchema.safeParse(jsonOf(text));
    if (!parsed.success) return invalid(z.prettifyError(parsed.error));
    const scenario = ozScenarioFor(bearer, parsed.data.config?.model_id);
    if (scenario.refusal) return problem(scenario.refusal);
    const run: SandboxRun = {
      id: randomUUID(),
      bearer,
      at: new Date(),
      userAgent,
      body: parsed.data,
      scenario: scenario.model,
      path: url.pathname,
      cancelledAt: undefined,
      cancelCalls: 0,
      looks: 0,
    };
    runs.set(run.id, run);
    order.push(run);
    if (order.length > keptRuns) order.shift();
    if (scenario.losesAnswer) return 'lost';
    return { status: 200, body: { run_id: run.id, task_id: run.id, state: stateOf(run) } };
  };

  const view = (run: SandboxRun, origin: string): Record<string, unknown> => {
    const { timeline, errorCode } = scenarioOf(run);
    const state = stateOf(run);
    const worked = workedAt(timeline, ageOf(run));
    const isBad = ['FAILED', 'ERROR', 'BLOCKED'].includes(state);
    return {
      run_id: run.id,
      task_id: run.id,
      title: run.body.prompt.slice(0, 40),
      state,
      prompt: run.body.prompt,
      created_at: run.at.toISOString(),
      updated_at: new Date().toISOString(),
      started_at: worked > 0 ? new Date(Date.now() - worked).toISOString() : null,
      agent_config: run.body.config ?? {},
      ...(worked > 0 ? { session_link: `${origin}/session/${run.id}` } : {}),
      ...(state === 'SUCCEEDED' ? { request_usage: { inference_cost: 1.5, compute_cost: 0.5 } } : {}),
      ...(isBad
        ? {
            status_message: {
              message: `sandbox: the run is ${state}`,
              ...(errorCode && { error_code: errorCode, retryable: false }),
            },
          }
        : {}),
    };
  };

  const conversation = (run: SandboxRun): OzAnswer => {
    const { conversation: kept, said, timeline } = scenarioOf(run);
    const worked = workedAt(timeline, ageOf(run));
    if (worked === 0 || kept === 'absent') return notFound('the run has no conversation');
    if (kept === 'unsupported')
      return problem({ ...unsupported, title: 'This conversation cannot be shown.' });
    const texts = said ? said(run.body.prompt, worked) : [plainAnswer(run.body)];
    return {
      status: 200,
      body: { conversation_id: `of-${run.id}`, steps: [stepOf(run.body.prompt, texts)] },
    };
  };

  const cancel = (run: SandboxRun): OzAnswer => {
    run.cancelCalls += 1;
    const state = stateOf(run);
    if (state === 'PENDING')
      return problem({ ...conflict, title: 'Pending agent runs cannot be cancelled.' });
    if (!['QUEUED', 'CLAIMED', 'INPROGRESS'].includes(state)) return invalid(`the run is ${state}`);
    run.cancelledAt = new Date();
    return { status: 200, body: run.id };
  };

  const answer: Oz['answer'] = (request) => {
    const { method, url, bearer } = request;
    if (url.pathname !== '/api/v1/agent' && !url.pathname.startsWith('/api/v1/agent/')) return undefined;
    const refusal = bearer === '' ? ozKeyRefusals.revoked : refusalOf(bearer);
    if (refusal) return problem(refusal);
    const [, path = '', id, rest = ''] =
      /^\/api\/v1\/agent(\/[a-z]+)?(?:\/([^/]+))?(\/[a-z]+)?$/.exec(url.pathname) ?? [];
    const route = `${method} ${path}${id === undefined ? '' : '/{id}'}${rest}`;
    switch (route) {
      case 'GET ':
        return { status: 200, body: { agents: [] } };
      case 'GET /models':
        return { status: 200, body: modelList() };
      case 'POST /run':
        return isOldPathRetired ? notFound('there is no POST /api/v1/agent/run') : begin(request);
      case 'POST /runs':
        return begin(request);
      case 'GET /runs': {
        const name = url.searchParams.get('name');
        const found = order.filter(
          (run) => run.bearer === bearer && (name === null || run.body.config?.name === name),
        );
        const page = found.reverse().slice(0, Number(url.searchParams.get('limit') ?? 20));
        const views = page.map((run) => view(run, url.origin));
        return {
          status: 200,
          body: { runs: views, page_info: { has_next_page: page.length < found.length } },
        };
      }
      default:
    }
    const run = id === undefined ? undefined : runs.get(id);
    if (run?.bearer !== bearer) return notFound(`there is no ${url.pathname}`);
    if (route === 'POST /runs/{id}/cancel') return cancel(run);
    if (route === 'GET /runs/{id}/conversation') return conversation(run);
    if (route !== 'GET /runs/{id}') return notFound(`there is no ${route}`);
    run.looks += 1;
    const isTroubled = scenarioOf(run).isFlaky && run.looks % 2 === 1;
    return isTroubled ? problem(unavailable) : { status: 200, body: view(run, url.origin) };
  };

  return {
    runs: order,
    retireOldPath() {
      isOldPathRetired = true;
    },
    answer(request) {
      const given = answer(request);
      return given === undefined || given === 'lost' ? given : withInstance(given, request.url.pathname);
    },
  };
}

const unsupported = { status: 422, code: 'operation_not_supported', retryable: false };
const conflict = { status: 409, code: 'conflict', retryable: true };
const unavailable = { status: 503, code: 'internal_error', title: 'Try again later.', retryable: true };

function refusalOf(bearer: string): OzProblem | undefined {
  const wish = bearer.slice(bearer.indexOf('.') + 1);
  return wish === 'revoked' || wish === 'refused' ? ozKeyRefusals[wish] : undefined;
}

function plainAnswer({ prompt, attachments = [] }: SandboxRun['body']): string {
  const lines = attachments.map(
    ({ file_name, mime_type, data }) =>
      `[attachment ${file_name} ${mime_type}, ${Buffer.from(data, 'base64').length} bytes]`,
  );
  return [`You said: ${prompt}`, ...lines].join('\n');
}

/** With more than one thing to say, the agent does something in between, and has somebody else do something. */
function stepOf(prompt: string, texts: readonly string[]): Record<string, unknown> {
  const text = (words: string) => [{ type: 'text', text: words }];
  const messages: unknown[] = [{ role: 'user', content: text(prompt) }];
  for (const [index, words] of texts.entries()) {
    if (index > 0) {
      const action = { category: 'command', name: 'run_command' };
      messages.push(
        {
          role: 'assistant',
          content: [{ type: 'action', id: `a-${index}`, ...action, input: { command: 'ls' } }],
        },
        {
          role: 'tool',
          content: [
            { type: 'action_result', action_id: `a-${index}`, ...action, state: 'completed', output: {} },
          ],
        },
      );
    }
    if (words !== '') messages.push({ role: 'assistant', content: text(words) });
  }
  const delegated = {
    id: 'step-2',
    messages: [{ role: 'assistant', content: text('Said by another.') }],
    steps: [],
  };
  return { id: 'step-1', description: prompt, messages, steps: texts.length > 1 ? [delegated] : [] };
}

function modelList(): Record<string, unknown> {
  const named = ozScenarios.map(({ model }) => ({ id: model, display_name: model, provider: 'UNKNOWN' }));
  const models = [
    {
      id: 'claude-4-6-opus-high',
      display_name: 'Claude Opus 4.6',
      provider: 'ANTHROPIC',
      reasoning_level: 'high',
    },
    { id: 'gpt-5-4-high', display_name: 'GPT-5.4', provider: 'OPENAI' },
    {
      id: 'switched-off',
      display_name: 'Switched off',
      provider: 'OPENAI',
      disable_reason: 'ADMIN_DISABLED',
    },
    ...named,
  ];
  return {
    default_model_id: 'gpt-5-4-high',
    models: models.map((model) => ({ vision_supported: true, ...model })),
  };
}

/** `type` names the error by the page about it; `error` is what older clients read. */
function problem({ status, code, title, detail, retryable, headers }: OzProblem): OzAnswer {
  const body = {
    type: `${documents}${code.replaceAll('_', '-')}/`,
    title,
    status,
    ...(detail !== undefined && { detail }),
    error: detail === undefined ? title : `${title} (${detail})`,
    retryable,
    trace_id: randomUUID().replaceAll('-', ''),
  };
  return { status, body, headers: { 'content-type': problemType, ...headers } };
}

const problemType = 'application/problem+json';

function withInstance(answer: OzAnswer, instance: string): OzAnswer {
  if (answer.headers?.['content-type'] !== problemType) return answer;
  return { ...answer, body: { ...(answer.body as object), instance } };
}

function invalid(detail: string): OzAnswer {
  const title = 'The request contains invalid or missing parameters.';
  return problem({ status: 400, code: 'invalid_request', title, detail, retryable: false });
}

function notFound(detail: string): OzAnswer {
  const title = 'The requested resource was not found.';
  return problem({ status: 404, code: 'resource_not_found', title, detail, retryable: false });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
