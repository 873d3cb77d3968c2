import type { Attributes, Histogram } from '@opentelemetry/api';
import type { TurnContent } from '../../core/shown-turn.ts';
import type { Usage } from '../../core/turn.ts';
import { type BegunSpan, below, type EndedSpan, type Telemetry } from '../../lib/telemetry/telemetry.ts';
import { shownClient, shownSkip } from '../records/shown-turn.ts';
import type { AskedTurn, AttemptNote, AttemptSpan, TurnRecord, TurnTracing } from '../records/turn-record.ts';

/**
 * The names of the semantic conventions for generative AI that are used here. They are in development: these are of version
 * 1.41, the last that was published and what backends read. Its successor renames the metrics to `gen_ai.client.inference.*`.
 */
export const genAi = {
  operation: 'gen_ai.operation.name',
  provider: 'gen_ai.provider.name',
  requestModel: 'gen_ai.request.model',
  responseModel: 'gen_ai.response.model',
  isStream: 'gen_ai.request.stream',
  finishReasons: 'gen_ai.response.finish_reasons',
  timeToFirstChunk: 'gen_ai.response.time_to_first_chunk',
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  cacheReadTokens: 'gen_ai.usage.cache_read.input_tokens',
  cacheWriteTokens: 'gen_ai.usage.cache_creation.input_tokens',
  reasoningTokens: 'gen_ai.usage.reasoning.output_tokens',
  tokenType: 'gen_ai.token.type',
  inputMessages: 'gen_ai.input.messages',
  outputMessages: 'gen_ai.output.messages',
} as const;

/** The only operation of turns. */
export const chat = 'chat';

const seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

export const genAiMetrics = {
  duration: {
    name: 'gen_ai.client.operation.duration',
    unit: 's',
    description: 'GenAI operation duration.',
    bounds: seconds,
  },
  timeToFirstChunk: {
    name: 'gen_ai.client.operation.time_to_first_chunk',
    unit: 's',
    description: 'Time to receive the first chunk of a streamed answer.',
    bounds: seconds,
  },
  tokens: {
    name: 'gen_ai.client.token.usage',
    unit: '{token}',
    description: 'Number of input and output tokens used.',
    bounds: [
      1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
    ],
  },
} as const;

/** Names of providers that the conventions know under another one. */
const wellKnown: Readonly<Record<string, string>> = {
  gemini: 'gcp.gemini',
  groq: 'groq',
  mistral: 'mistral_ai',
  moonshot: 'moonshot_ai',
  xai: 'x_ai',
};

export function providerName(own: string): string {
  return wellKnown[own] ?? own;
}

/** Records of turns as spans and metrics, made when a turn has ended: while it runs, nothing but its ids exists. */
export class TurnTelemetry implements TurnTracing {
  readonly #telemetry: Telemetry;
  readonly #duration: Histogram | undefined;
  readonly #firstChunk: Histogram | undefined;
  readonly #tokens: Histogram | undefined;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
    const histogram = ({
      name,
      unit,
      description,
      bounds,
    }: (typeof genAiMetrics)[keyof typeof genAiMetrics]) =>
      telemetry.meter?.createHistogram(name, {
        unit,
        description,
        advice: { explicitBucketBoundaries: [...bounds] },
      });
    this.#duration = histogram(genAiMetrics.duration);
    this.#firstChunk = histogram(genAiMetrics.timeToFirstChunk);
    this.#tokens = histogram(genAiMetrics.tokens);
  }

  begin({ call }: AskedTurn): BegunSpan | undefined {
    return this.#telemetry.begin(call?.trace);
  }

  attempt(turn: BegunSpan, provider: string): AttemptSpan {
    const context = this.#telemetry.child(turn);
    const isPassedOn = this.#telemetry.isPassedTo(provider);
    return { context, passedOn: isPassedOn ? this.#telemetry.headersOf(context) : undefined };
  }

  ended(record: TurnRecord): void {
    for (const attempt of record.attempts) this.#measure(attempt, record);
    const { trace } = record;
    if (!trace?.isSampled) return;
    this.#telemetry.record(trace.parent, trace.context, turnSpan(record));
    const parent = below(trace.context);
    for (const attempt of record.attempts) {
      if (attempt.span) this.#telemetry.record(parent, attempt.span.context, attemptSpan(attempt, record));
    }
  }

  #measure(attempt: AttemptNote, { asked }: TurnRecord): void {
    const { startedMs, endedMs, firstContentMs, usage } = attempt;
    if (endedMs === undefined) return;
    const labels = { ...modelAttributes(attempt), ...errorOf(attempt.outcome) };
    this.#duration?.record((endedMs - startedMs) / 1000, labels);
    if (asked.isStream && firstContentMs !== undefined)
      this.#firstChunk?.record((firstContentMs - startedMs) / 1000, labels);
    if (!usage || usage.isEstimated) return;
    this.#tokens?.record(usage.inputTokens, { ...modelAttributes(attempt), [genAi.tokenType]: 'input' });
    this.#tokens?.record(usage.outputTokens, { ...modelAttributes(attempt), [genAi.tokenType]: 'output' });
  }
}

function turnSpan(record: TurnRecord): EndedSpan {
  const { asked, at, ended, attempts, candidates, omitted } = record;
  const { call } = asked;
  const events: EndedSpan['events'][number][] = [];
  for (const { route, skipped } of candidates) {
    for (const skip of skipped) {
      const { reason, account_id, says } = shownSkip(skip);
      const account = account_id === null ? {} : { 'warp2api.account.id': account_id };
      const attributes = {
        [genAi.provider]: providerName(route.provider.name),
        [genAi.requestModel]: route.model,
        'warp2api.skip.reason': reason,
        'warp2api.skip.says': says,
        ...account,
      };
      events.push({ name: 'warp2api.candidate.skipped', at: at + skip.atMs, attributes });
    }
  }
  for (const [index, next] of attempts.entries()) {
    const failed = attempts[index - 1];
    if (failed?.endedMs === undefined || failed.outcome === 'success') continue;
    const attributes = {
      ...errorOf(failed.outcome),
      'warp2api.account.id': failed.accountId,
      'warp2api.next.account.id': next.accountId,
      'warp2api.next.choice': next.choice,
    };
    events.push({ name: 'warp2api.failover', at: at + next.startedMs, attributes });
  }
  // The turn's own figure counts from when it was let in, which is later than the record begins.
  const firstContentMs = attempts.findLast((attempt) => attempt.firstContentMs !== undefined)?.firstContentMs;
  if (ended?.firstContentMs !== undefined && firstContentMs !== undefined)
    events.push({ name: 'warp2api.first_token', at: at + firstContentMs, attributes: {} });
  return {
    name: call ? `${call.method} ${call.path}` : asked.dialect,
    kind: 'server',
    startedAt: at,
    endedAt: at + (ended?.durationMs ?? 0),
    attributes: {
      ...(call && {
        'http.request.method': call.method,
        'http.route': call.path,
        'warp2api.carrier': call.by,
      }),
      ...(ended && { 'http.response.status_code': ended.status, ...errorOf(ended.outcome) }),
      [genAi.requestModel]: asked.model,
      [genAi.isStream]: asked.isStream,
      'warp2api.request.id': asked.requestId,
      'warp2api.dialect': asked.dialect,
      'warp2api.client_key': shownClient(asked.client.id),
      ...(asked.client.managed && { 'warp2api.key_name': asked.client.managed.name }),
      'warp2api.attempts': attempts.length,
      ...(omitted > 0 && { 'warp2api.omitted_notes': omitted }),
    },
    events: events.sort((one, other) => one.at - other.at),
    // A fault of the client's is none of the server's.
    failure: ended && ended.status >= 500 ? (ended.message ?? ended.outcome) : undefined,
  };
}

function attemptSpan(attempt: AttemptNote, record: TurnRecord): EndedSpan {
  const { at, asked, ended } = record;
  const { route, outcome, firstContentMs, startedMs, endedMs, connectedMs, status, accountStatus } = attempt;
  const finish = outcome === 'success' ? ended?.finish : undefined;
  const event = (name: string, ms: number | undefined) =>
    ms === undefined ? [] : [{ name, at: at + ms, attributes: {} }];
  return {
    name: `${chat} ${route.model}`,
    kind: 'client',
    startedAt: at + startedMs,
    endedAt: at + (endedMs ?? startedMs),
    attributes: {
      ...modelAttributes(attempt),
      ...errorOf(outcome),
      ...usageAttributes(attempt.usage),
      [genAi.isStream]: asked.isStream,
      ...(asked.isStream &&
        firstContentMs !== undefined && { [genAi.timeToFirstChunk]: (firstContentMs - startedMs) / 1000 }),
      ...(finish !== undefined && { [genAi.finishReasons]: [finish] }),
      ...(status !== undefined && { 'http.response.status_code': status }),
      ...(attempt === record.attempts.at(-1) && contentAttributes(record)),
      'warp2api.account.id': attempt.accountId,
      'warp2api.account.choice': attempt.choice,
      'warp2api.account.from': attempt.wasHeld ? 'held' : 'pool',
      'warp2api.account.waited_ms': attempt.waitedMs,
      ...(accountStatus !== undefined && { 'warp2api.account.status': accountStatus }),
    },
    events: [...event('warp2api.connected', connectedMs), ...event('warp2api.first_token', firstContentMs)],
    failure: outcome === 'success' ? undefined : (attempt.message ?? outcome),
  };
}

/** As the conventions have messages: names of parts that they do not know are allowed. */
function contentAttributes({ content }: TurnRecord): Attributes {
  if (!content) return {};
  const messages = (of: TurnContent['input']) =>
    JSON.stringify(
      of.map(({ role, parts }) => ({
        role,
        parts: parts.map(({ type, name, content: said }) => {
          if (type === 'tool_call') return { type, name, arguments: said };
          return type === 'tool_call_response' ? { type, response: said } : { type, content: said };
        }),
      })),
    );
  return { [genAi.inputMessages]: messages(content.input), [genAi.outputMessages]: messages(content.output) };
}

function modelAttributes({ route }: AttemptNote): Attributes {
  return {
    [genAi.operation]: chat,
    [genAi.provider]: providerName(route.provider.name),
    [genAi.requestModel]: route.model,
    [genAi.responseModel]: route.model,
  };
}

function usageAttributes(usage: Usage | undefined): Attributes {
  if (!usage) return {};
  const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens, reasoningTokens } = usage;
  const { credits, costCents, isEstimated } = usage;
  return {
    [genAi.inputTokens]: inputTokens,
    [genAi.outputTokens]: outputTokens,
    ...(cachedInputTokens !== undefined && { [genAi.cacheReadTokens]: cachedInputTokens }),
    ...(cacheWriteTokens !== undefined && { [genAi.cacheWriteTokens]: cacheWriteTokens }),
    ...(reasoningTokens !== undefined && { [genAi.reasoningTokens]: reasoningTokens }),
    ...(credits !== undefined && { 'warp2api.usage.credits': credits }),
    ...(costCents !== undefined && { 'warp2api.usage.cost_cents': costCents }),
    ...(isEstimated && { 'warp2api.usage.is_estimated': true }),
  };
}

function errorOf(outcome: string | undefined): Attributes {
  return outcome === undefined || outcome === 'success' ? {} : { 'error.type': outcome };
}
