import { Counter, Gauge, Registry } from 'prom-client';
import { callSeconds, LightHistogram, metricsText, Sums } from '../../lib/api/metrics.ts';
import type { Telemetry } from '../../lib/telemetry/telemetry.ts';
import type { Limits } from '../limits/limits.ts';
import type { TurnRecords } from '../records/turn-record.ts';
import type { BufferedStore } from '../state/buffered-store.ts';
import type { UsageLedger } from '../usage/ledger.ts';
import type { Admission } from './admission.ts';
import type { ClientTurn } from './client-turns.ts';
import type { TurnResult } from './run-turn.ts';

export type GatewayMetrics = ReturnType<typeof createGatewayMetrics>;

/** By the values of labels. */
type Counted = Iterable<readonly [string | number | readonly string[], number]>;

const prefix = 'warp2api_gateway_';
/** Keys that have figures of their own, those that were used first: an operator may make thousands. */
const mostKeys = 200;
/** Families that a model's name may begin with; clients name models as they like, so other names are one class. */
const families = /^(?:claude|gpt|o1|o3|o4|gemini|grok|deepseek|qwen|kimi|glm|auto|sandbox)/i;

/** The gateway's figures: one note for each turn, at its end. Labels are words of our own or of the operator, never a client's. */
export function createGatewayMetrics(options: {
  turns(): number;
  waiting(): number;
  streams(): number;
  leases(): number;
  /** Of request bodies. */
  bodyBytes(): number;
  isPoolReachable(): boolean;
  /** What `/health` answers. */
  health(): { readonly status: string; readonly disk: { readonly low: boolean } };
  /** That of client keys and usage. */
  isDatabaseReachable(): boolean;
  /** Every provider a turn has gone to, and whether it can be reached. */
  providers(): ReadonlyMap<string, boolean>;
  /** `provider/model` of those that turns pass over. */
  openCircuits(): readonly string[];
  readonly telemetry: Pick<Telemetry, 'droppedSpans'> | undefined;
  readonly keep: Pick<BufferedStore, 'figures' | 'failures'>;
  readonly ledger: Pick<UsageLedger, 'figures'>;
  readonly records: Pick<TurnRecords, 'leftOut'>;
  readonly admission: Pick<Admission, 'load' | 'reason' | 'refused'>;
  readonly limits: Pick<Limits, 'refused' | 'passed'>;
}) {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number | boolean): void => {
    new Gauge({
      name: prefix + name,
      help,
      registers,
      collect() {
        this.set(Number(read()));
      },
    });
  };
  /** `read`: what was counted so far, by the values of the labels. */
  const counter = (name: string, help: string, labelNames: readonly string[], read: () => Counted): void => {
    new Counter({
      name: prefix + name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const [values, count] of read()) this.labels(...[values].flat().map(String)).inc(count);
      },
    });
  };
  const summed = (name: string, help: string, ...labelNames: readonly string[]): Sums => {
    const sums = new Sums();
    counter(name, help, labelNames, () => sums.all());
    return sums;
  };

  const turns = summed(
    'turns_total',
    'Turns by the dialect of the client, the family of the model asked for, and how they ended.',
    'protocol',
    'model',
    'outcome',
  );
  const seconds = new LightHistogram(`${prefix}turn_seconds`, 'Time of a whole turn.', [
    ...callSeconds,
    120,
    300,
    600,
  ]);
  const firstContent = new LightHistogram(
    `${prefix}first_content_seconds`,
    'Time to the first content of an answer.',
    callSeconds,
  );
  const attempts = summed(
    'upstream_attempts_total',
    'Calls to upstreams; more than turns where another account was tried.',
    'provider',
  );
  const tokens = summed('tokens_total', 'Tokens of turns, by the upstreams or as counted here.', 'direction');
  const conversations = summed(
    'conversations_total',
    'Turns by how they met their conversation. new: a first turn; hit: remembered and continued; ' +
      'miss: a history of which nothing was kept; claimed: another turn had taken it up before; ' +
      'lost: kept, but its account did not carry the turn or the upstream knew it no longer. All but hit send the history whole.',
    'result',
  );
  const credits = summed(
    'credits_total',
    'What upstreams told they charged for turns, in the unit of each provider.',
    'provider',
  );
  const cost = summed('cost_cents_total', 'What upstreams told turns cost, in US cents.', 'provider');
  const keys = new Set<string>();
  const keyTurns = summed(
    'key_turns_total',
    `Turns of keys that the operator has made, by the name of the key and whether they went well; "other" for all beyond the first ${mostKeys}.`,
    'key',
    'outcome',
  );
  new Gauge({
    name: `${prefix}provider_up`,
    help: '1 when connections to a provider can be made; of those that turns went to.',
    labelNames: ['provider'] as const,
    registers,
    collect() {
      for (const [provider, isUp] of options.providers()) this.set({ provider }, Number(isUp));
    },
  });
  new Gauge({
    name: `${prefix}circuits_open`,
    help: 'Models of a provider that turns with another candidate pass over, since they fail turn after turn.',
    labelNames: ['provider'] as const,
    registers,
    collect() {
      this.reset();
      for (const name of options.openCircuits()) this.inc({ provider: name.slice(0, name.indexOf('/')) });
    },
  });

  const { keep, ledger, records, admission, telemetry, limits } = options;
  gauge(
    'keep_bytes',
    'Bytes of conversations and stored responses in the keep; on a shared database as counted last.',
    () => keep.figures().bytes,
  );
  gauge('keep_entries', 'Entries of the keep.', () => keep.figures().entries);
  gauge('keep_unwritten', 'Changes of the keep that are only in memory yet.', () => keep.figures().unwritten);
  gauge(
    'keep_up',
    '0 while the store of the keep does not answer or cannot be opened, and memory alone keeps.',
    () => keep.figures().isReachable,
  );
  counter(
    'keep_failures_total',
    'Calls of the store of the keep that failed. No turn fails for that.',
    [],
    () => [[[], keep.failures]],
  );
  gauge(
    'ledger_waiting_turns',
    'Turns that are not written to the usage ledger yet.',
    () => ledger.figures.waiting,
  );
  counter(
    'ledger_turns_total',
    'Turns by what became of them: written to the usage ledger, dropped since its database took no more, or left out as refused requests of a client that had another one within the second.',
    ['result'],
    () => [
      ['written', ledger.figures.written],
      ['dropped', ledger.figures.dropped],
      ['left_out', records.leftOut],
    ],
  );
  gauge(
    'event_loop_delay_seconds',
    'How long what was due waited lately, on average.',
    () => admission.load.delayMs / 1000,
  );
  gauge('heap_used_ratio', 'Of the memory that V8 may take.', () => admission.load.heapShare);
  gauge(
    'overloaded',
    '1 while new turns are refused because the process has more work than it can do.',
    () => admission.reason !== undefined,
  );
  counter('turns_shed_total', 'Turns refused for that, by what was short.', ['cause'], () =>
    Object.entries(admission.refused),
  );
  if (telemetry)
    counter('spans_dropped_total', 'Spans that the collector of traces did not get.', [], () => [
      [[], telemetry.droppedSpans],
    ]);
  counter(
    'turns_limited_total',
    'Turns that a limit of their client key refused, by the limit.',
    ['limit'],
    () => limits.refused,
  );
  counter(
    'budgets_passed_total',
    'Budgets of client keys of which so much was used, each once in its window.',
    ['percent'],
    () => limits.passed,
  );
  gauge('turns', 'Turns under way.', options.turns);
  gauge('turns_waiting', 'Turns that wait for an account.', options.waiting);
  gauge('streams', 'Streams open.', options.streams);
  gauge(
    'request_body_bytes',
    'Bytes of request bodies held, of which BODIES_MAX_MB sets the most.',
    options.bodyBytes,
  );
  gauge('leases', 'Accounts borrowed from the pool.', options.leases);
  gauge('pool_up', '1 when the pool answers.', options.isPoolReachable);
  gauge('database_up', '1 when the database of client keys and usage answers.', options.isDatabaseReachable);
  gauge(
    'degraded',
    '1 while /health says degraded, with the reason.',
    () => options.health().status === 'degraded',
  );
  gauge('disk_low', '1 while a disk it writes to is nearly full.', () => options.health().disk.low);

  return {
    turnEnded(
      { protocol, decoded, client }: Pick<ClientTurn, 'protocol' | 'decoded' | 'client'>,
      result: TurnResult,
      durationMs: number,
    ): void {
      const { error, route, usage } = result;
      const provider = route?.provider.name ?? 'none';
      turns.add(1, `${protocol}\n${familyOf(decoded.request.model)}\n${error?.code ?? 'success'}`);
      const { name } = client.managed ?? {};
      if (name !== undefined && keys.size < mostKeys) keys.add(name);
      if (name !== undefined)
        keyTurns.add(1, `${keys.has(name) ? name : 'other'}\n${error ? 'error' : 'success'}`);
      const labels = `protocol="${protocol}",stream="${decoded.isStream ? 'yes' : 'no'}"`;
      seconds.observe(labels, durationMs / 1000);
      if (result.firstContentMs !== undefined) firstContent.observe(labels, result.firstContentMs / 1000);
      if (result.attempts > 0) attempts.add(result.attempts, provider);
      if (result.conversation !== undefined) conversations.add(1, result.conversation);
      if (usage === undefined) return;
      tokens.add(usage.inputTokens, 'input');
      tokens.add(usage.outputTokens, 'output');
      if (usage.credits !== undefined) credits.add(usage.credits, provider);
      if (usage.costCents !== undefined) cost.add(usage.costCents, provider);
    },
    text: () => metricsText(registry, seconds, firstContent),
  };
}

function familyOf(model: string): string {
  return families.exec(model.slice(model.lastIndexOf('/') + 1))?.[0].toLowerCase() ?? 'other';
}
