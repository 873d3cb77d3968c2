// Plays Anthropic's Messages API on this machine. The model's name chooses the scenario.
import type { JsonObject } from '../struct.ts';
import { type Answer, answerOf, type Facts, scenarioNames, type Usage } from '../vendor/scenarios.ts';
import { type VendorOptions, type VendorSandbox, VendorServer } from '../vendor/server.ts';
import {
  askedIn,
  type Failure,
  isReply,
  type Played,
  type Reply,
  type SeenRequest,
  type Turn,
  type Vendor,
} from '../vendor/vendor.ts';
import { abandonedFrames, playedAnswer, streamType } from './answer.ts';
import { blocksOf, cacheable, joinedMessages, prefillRefusal, refusalOf } from './check.ts';
import {
  type CountRequest,
  countRequest,
  type MessagesRequest,
  messagesRequest,
  problemIn,
} from './request.ts';

/** Beside those of every vendor: redacted thoughts, usage by the cache breakpoints, and the rules of the newest models. */
const scenarios = [...scenarioNames, 'redacted', 'cache', 'adaptive'].map((name) => `claude-${name}`);
/** They take no prefill, no budget of thinking and no sampling. */
const isNewest = (scenario: string) => scenario === 'claude-adaptive';

type Problem = Exclude<Failure, 'rate-limited-bare'>;

const failures: Record<
  Problem,
  (detail: string) => readonly [status: number, type: string, message: string]
> = {
  'no-key': () => [401, 'authentication_error', 'x-api-key header is required'],
  'bad-key': () => [401, 'authentication_error', 'invalid x-api-key'],
  'rate-limited': () => [
    429,
    'rate_limit_error',
    'This request would exceed the rate limit for your organization of 50 requests per minute.',
  ],
  quota: () => [
    402,
    'billing_error',
    'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.',
  ],
  error: () => [500, 'api_error', 'Internal server error'],
  unavailable: () => [529, 'overloaded_error', 'Overloaded'],
  'too-long': () => [400, 'invalid_request_error', 'prompt is too long: 208310 tokens > 200000 maximum'],
  prefill: () => [400, 'invalid_request_error', prefillRefusal],
  'not-json': () => [400, 'invalid_request_error', 'The request body is not valid JSON'],
  'unknown-model': (model) => [404, 'not_found_error', `model: ${model}`],
  'unknown-path': () => [404, 'not_found_error', 'Not Found'],
};

function failure(kind: Failure, detail = ''): Reply {
  const [status, type, message] = failures[kind === 'rate-limited-bare' ? 'rate-limited' : kind](detail);
  const limits = status === 429 ? limitHeaders(0) : {};
  const again: Record<string, string> = kind === 'rate-limited' ? { 'retry-after': '2' } : {};
  return { status, body: errorBody(type, message), headers: { ...requestId, ...limits, ...again } };
}

/** That have been published. */
const versions = ['2023-01-01', '2023-06-01', '2026-10-21'];

const requestId = { 'request-id': 'req_up' };

function errorBody(type: string, message: string, details: object | null = null) {
  return { type: 'error', error: { type, message, ...(details && { details }) }, request_id: 'req_up' };
}

function refused(message: string): Reply {
  return { status: 400, body: errorBody('invalid_request_error', message), headers: requestId };
}

/** Of three families of limits, all reset a minute from now. */
function limitHeaders(remaining: number): Record<string, string> {
  const reset = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 60_000).toISOString().replace('.000Z', 'Z');
  const families = { requests: 50, tokens: 100_000, 'input-tokens': 80_000, 'output-tokens': 20_000 };
  return Object.fromEntries(
    Object.entries(families).flatMap(([family, limit]) => [
      [`anthropic-ratelimit-${family}-limit`, String(limit)],
      [`anthropic-ratelimit-${family}-remaining`, String(Math.min(limit, remaining))],
      [`anthropic-ratelimit-${family}-reset`, reset],
    ]),
  );
}

const headersOf = () => ({
  ...requestId,
  'anthropic-organization-id': '00000000-0000-4000-8000-000000000000',
  ...limitHeaders(49),
});

/** The request, or why it is refused: its headers, its form, what its beta headers do not cover, its sense. */
function read<Request extends CountRequest>(
  schema: typeof messagesRequest | typeof countRequest,
  body: unknown,
  seen: SeenRequest,
): Request | Reply {
  if (seen.headers['anthropic-version'] === undefined)
    return refused('anthropic-version: header is required');
  if (!versions.includes(String(seen.headers['anthropic-version']))) {
    return refused(`anthropic-version: "${seen.headers['anthropic-version']}" is not a valid version`);
  }
  const parsed = schema.safeParse(body);
  if (!parsed.success) return refused(problemIn(parsed.error));
  const betas = String(seen.headers['anthropic-beta'] ?? '').split(/, */);
  const has = (name: string) => betas.some((beta) => beta.startsWith(name));
  const { thread, context_management: management, output_format: format, model } = parsed.data;
  // Its former name, which LiteLLM and CrewAI still use.
  if (format && !has('structured-outputs')) return refused('output_format: Extra inputs are not permitted');
  if (thread && !has('message-threads')) return refused('thread: Extra inputs are not permitted');
  if (thread) {
    const details = { error_code: 'thread_unsupported_request', unsupported: ['thread'] };
    const message = 'Threads are not supported for this request.';
    return { status: 400, body: errorBody('invalid_request_error', message, details), headers: requestId };
  }
  if (management && !has('context-management') && !has('compact')) {
    return refused('context_management: Extra inputs are not permitted');
  }
  const isNewVersion = seen.headers['anthropic-version'] === versions.at(-1);
  const problem = refusalOf(parsed.data, { isNewest: isNewest(model), isNewVersion });
  return problem === undefined ? (parsed.data as Request) : refused(problem);
}

/** Plays the vendor's memory of prompts for the scenario that counts by it. */
class PromptCache {
  readonly #known = new Set<string>();

  /** A token is four characters of what stands up to a breakpoint. */
  usageOf(request: MessagesRequest): Usage {
    const parts = cacheable(request);
    const total = JSON.stringify(parts).length;
    let read = 0;
    let marked = 0;
    for (const [index, { cache_control: mark }] of parts.entries()) {
      if (!mark) continue;
      const plain = parts.slice(0, index + 1).map(({ cache_control: _mark, ...rest }) => rest);
      const prefix = JSON.stringify(plain);
      marked = prefix.length;
      if (this.#known.has(prefix)) read = prefix.length;
      this.#known.add(prefix);
    }
    const tokens = (characters: number) => Math.ceil(characters / 4);
    return {
      input: tokens(Math.max(total, marked)),
      cacheRead: tokens(read),
      cacheWrite: tokens(marked) - tokens(read),
      output: 7,
      thinking: 0,
    };
  }
}

class Anthropic implements Vendor {
  readonly prefix = '';
  readonly scenarios = scenarios;
  readonly malformedFrame = 'event: content_block_delta\ndata: {"type":"content_block_delta", oops\n\n';
  readonly #cache = new PromptCache();

  keyOf(headers: SeenRequest['headers']): string {
    return String(headers['x-api-key'] ?? headers.authorization ?? '').replace(/^Bearer /, '');
  }

  turnOf(_seen: SeenRequest, path: string, _url: URL, body: unknown) {
    return path === '/v1/messages' ? askedIn(body) : undefined;
  }

  other(
    seen: SeenRequest,
    path: string,
    url: URL,
    body: unknown,
    models: readonly string[],
  ): Reply | undefined {
    if (seen.method === 'POST' && path === '/v1/messages/count_tokens') {
      const request = read<CountRequest>(countRequest, body, seen);
      if (isReply(request)) return request;
      const tokens = Math.ceil(JSON.stringify([request.system, cacheable(request)]).length / 4);
      return { status: 200, body: { input_tokens: tokens }, headers: headersOf() };
    }
    if (seen.method !== 'GET') return undefined;
    if (path === '/v1/models') return { status: 200, body: pageOf(models, url), headers: requestId };
    const id = path.startsWith('/v1/models/') ? path.slice('/v1/models/'.length) : undefined;
    if (id === undefined) return undefined;
    return models.includes(id) ? { status: 200, body: asModel(id) } : failure('unknown-model', id);
  }

  failure(kind: Failure, _seen: SeenRequest, detail?: string): Reply {
    return failure(kind, detail);
  }

  answer(turn: Turn): Played | Reply {
    const request = read<MessagesRequest>(messagesRequest, turn.body, turn.seen);
    if (isReply(request)) return request;
    if (isNewest(turn.scenario) && this.isPrefilled(turn)) return failure('prefill');
    return this.#played(turn, request, {});
  }

  filtered(turn: Turn): Played | Reply {
    const request = read<MessagesRequest>(messagesRequest, turn.body, turn.seen);
    if (isReply(request)) return request;
    return this.#played(turn, request, { texts: [], calls: [], finish: 'filter' });
  }

  abandoned({ model }: Turn) {
    return { frames: abandonedFrames(model), contentType: streamType };
  }

  isPrefilled({ body }: Turn): boolean {
    const { messages } = body as { readonly messages?: readonly { readonly role?: string }[] };
    return messages?.at(-1)?.role === 'assistant';
  }

  #played(turn: Turn, request: MessagesRequest, more: Partial<Answer>): Played {
    const name = turn.scenario.slice('claude-'.length);
    const facts = factsOf(request);
    const own: Partial<Answer> =
      name === 'redacted'
        ? { isRedacted: true, thoughts: [] }
        : name === 'cache'
          ? { usage: this.#cache.usageOf(request) }
          : {};
    const base = ['redacted', 'adaptive'].includes(name) ? 'thinking' : name;
    const answer = answerOf(base, facts, { ...own, ...more });
    const { thinking } = request;
    const isOmitted = thinking !== undefined && 'display' in thinking && thinking.display === 'omitted';
    return playedAnswer(answer, { model: turn.model, isOmitted }, headersOf());
  }
}

function factsOf(request: MessagesRequest): Facts {
  const { thinking, tools = [], tool_choice: choice, output_config: output } = request;
  const joined = joinedMessages(request);
  const isQuestion = ({ role, blocks }: (typeof joined)[number]) =>
    role === 'user' && !blocks.some(({ block }) => block.type === 'tool_result');
  const since = joined.slice(joined.findLastIndex(isQuestion) + 1);
  const calls = since.flatMap(({ blocks }) =>
    blocks.flatMap(({ block }) => (block.type === 'tool_use' ? [block] : [])),
  );
  const results = since.flatMap(({ blocks }) =>
    blocks.flatMap(({ block }) => (block.type === 'tool_result' ? [block] : [])),
  );
  const blocks = joined.flatMap((one) => one.blocks.map(({ block }) => block));
  const texts = joined
    .filter(({ role }) => role === 'user')
    .flatMap((one) => one.blocks.flatMap(({ block }) => (block.type === 'text' ? [block.text] : [])));
  const offered = tools.flatMap((tool) =>
    'name' in tool
      ? [{ name: String(tool.name), schema: ('input_schema' in tool ? tool.input_schema : {}) as JsonObject }]
      : [],
  );
  const said = joined.flatMap((one) =>
    one.blocks.flatMap(({ block }) => (block.type === 'text' ? [block.text] : [])),
  );
  const last = joined.at(-1);
  const system = typeof request.system === 'string' ? [request.system] : (request.system ?? []);
  return {
    text: texts.at(-1) ?? '',
    rules: system.map((block) => (typeof block === 'string' ? block : block.text)).join('\n\n'),
    earlier: said.slice(0, said.lastIndexOf(texts.at(-1) ?? '')),
    begun:
      last?.role === 'assistant'
        ? last.blocks.flatMap(({ block }) => (block.type === 'text' ? [block.text] : [])).join('')
        : undefined,
    tools: choice?.type === 'tool' ? offered.filter(({ name }) => name === choice.name) : offered,
    results: calls.flatMap(({ id, name, input }) =>
      results
        .filter((result) => result.tool_use_id === id)
        .map(({ content = '' }) => ({
          name,
          args: input,
          text: blocksOf(content)
            .flatMap((block) => (block.type === 'text' ? [block.text] : []))
            .join('\n'),
          images: blocksOf(content).filter((block) => block.type === 'image').length,
        })),
    ),
    rounds: since.filter(({ blocks: sent }) => sent.some(({ block }) => block.type === 'tool_use')).length,
    media: blocks.flatMap((block) => {
      if (block.type !== 'image' && block.type !== 'document') return [];
      const { source } = block;
      const data = source.type === 'base64' ? Buffer.from(source.data, 'base64') : Buffer.from('');
      return [
        {
          kind: block.type,
          type: 'media_type' in source ? source.media_type : source.type,
          bytes: data.length,
        },
      ];
    }),
    schema: (output?.format ?? request.output_format)?.schema,
    isThinking: thinking?.type === 'enabled' || thinking?.type === 'adaptive',
    stop: request.stop_sequences,
    maxTokens: request.max_tokens,
    mustCall: choice?.type === 'any' || choice?.type === 'tool',
    mayCall: choice?.type !== 'none',
    isParallel: !(choice && 'disable_parallel_tool_use' in choice && choice.disable_parallel_tool_use),
  };
}

/** A page of the list: `limit`, `after_id`, `before_id`. */
function pageOf(models: readonly string[], url: URL) {
  const limit = Number(url.searchParams.get('limit') ?? 20);
  const after = url.searchParams.get('after_id');
  const from = after === null ? 0 : models.indexOf(after) + 1;
  const page = models.slice(from, from + limit);
  return {
    data: page.map(asModel),
    first_id: page[0] ?? null,
    last_id: page.at(-1) ?? null,
    has_more: from + limit < models.length,
  };
}

function asModel(id: string) {
  return {
    type: 'model',
    id,
    display_name: id,
    created_at: '2026-01-01T00:00:00Z',
    lifecycle: 'active',
    max_input_tokens: 200_000,
    max_tokens: 64_000,
  };
}

/** The base URL has no prefix of its own: paths begin with `/v1`. */
export function startAnthropicSandbox(options: VendorOptions = {}): Promise<VendorSandbox> {
  return VendorServer.start(new Anthropic(), options);
}
