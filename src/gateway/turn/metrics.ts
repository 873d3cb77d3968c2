import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { callSeconds, metricsText } from '../../lib/api/metrics.ts';
import type { Telemetry } from '../../lib/telemetry/telemetry.ts';
import type { Limits } from '../limits/limits.ts';
import type { BufferedStore } from '../state/buffered-store.ts';
import type { UsageLedger } from '../usage/ledger.ts';
import type { Admission } from './admission.ts';
import type { ClientTurn } from './client-turns.ts';
import type { TurnResult } from './run-turn.ts';

/** The gateway's figures: one note for each turn, at its end. Labels are words of our own or of the operator, never a client's. */
export interface GatewayMetrics {
  turnEnded(
    turn: Pick<ClientTurn, 'protocol' | 'decoded' | 'client'>,
    result: TurnResult,
    durationMs: number,
  ): void;
  text(): Promise<string>;
}

const prefix = 'warp2api_gateway_';
/** Keys that have figures of their own, those that were used first: an operator may make thousands. */
const mostKeys = 200;
/** Families that a model's name may begin with; clients name models as they like, so other names are one class. */
const families = [
  'claude',
  'gpt',
  'o1',
  'o3',
  'o4',
  'gemini',
  'grok',
  'deepseek',
  'qwen',
  'kimi',
  'glm',
  'auto',
  'sandbox',
];

export function createGatewayMetrics(options: {
  turns(): number;
  waiting(): number;
  streams(): number;
  leases(): number;
  /** Of request bodies. */
  bodyBytes(): number;
  isPoolReachable(): boolean;
  /** That of client keys and usage. */
  isDatabaseReachable(): boolean;
  /** Every provider a turn has gone to, and whether it can be reached. */
  providers(): ReadonlyMap<string, boolean>;
  /** `provider/model` of those that turns pass over. */
  openCircuits(): readonly string[];
  readonly telemetry: Pick<Telemetry, 'droppedSpans'> | undefined;
  readonly keep: Pick<BufferedStore, 'figures' | 'failures'>;
  readonly ledger: Pick<UsageLedger, 'figures'>;
  readonly admission: Pick<Admission, 'load' | 'reason' | 'refused'>;
  readonly limits: Pick<Limits, 'refused' | 'passed'>;
}): GatewayMetrics {
  const registry = new Registry();
  const registers = [registry];
  const turns = new Counter({
    name: `${prefix}turns_total`,
    help: 'Turns by the dialect of the client, the family of the model asked for, and how they ended.',
    labelNames: ['protocol', 'model', 'outcome'] as const,
    registers,
  });
  const seconds = new Histogram({
    name: `${prefix}turn_seconds`,
    help: 'Time of a whole turn.',
    labelNames: ['protocol', 'stream'] as const,
    buckets: [...callSeconds, 120, 300, 600],
    registers,
  });
  const firstContent = new Histogram({
    name: `${prefix}first_content_seconds`,
    help: 'Time to the first content of an answer.',
    labelNames: ['protocol', 'stream'] as const,
    buckets: callSeconds,
    registers,
  });
  const attempts = new Counter({
    name: `${prefix}upstream_attempts_total`,
    help: 'Calls to upstreams; more than turns where another account was tried.',
    labelNames: ['provider'] as const,
    registers,
  });
  const tokens = new Counter({
    name: `${prefix}tokens_total`,
    help: 'Tokens of turns, by the upstreams or as counted here.',
    labelNames: ['direction'] as const,
    registers,
  });
  const conversations = new Counter({
    name: `${prefix}conversations_total`,
    help:
      'Turns by how they met their conversation. new: a first turn; hit: remembered and continued; ' +
      'miss: a history of which nothing was kept; claimed: another turn had taken it up before; ' +
      'lost: kept, but its account did not carry the turn or the upstream knew it no longer. All but hit send the history whole.',
    labelNames: ['result'] as const,
    registers,
  });
  const credits = new Counter({
    name: `${prefix}credits_total`,
    help: 'What upstreams told they charged for turns, in the unit of each provider.',
    labelNames: ['provider'] as const,
    registers,
  });
  const cost = new Counter({
    name: `${prefix}cost_cents_total`,
    help: 'What upstreams told turns cost, in US cents.',
    labelNames: ['provider'] as const,
    registers,
  });
  const keys = new Set<string>();
  const keyTurns = new Counter({
    name: `${prefix}key_turns_total`,
    help: `Turns of keys that the operator has made, by the name of the key and whether they went well; "other" for all beyond the first ${mostKeys}.`,
    labelNames: ['key', 'outcome'] as const,
    registers,
  });
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
  const now = {
    turns: 'Turns under way.',
    waiting: 'Turns that wait for an account.',
    streams: 'Streams open.',
    bodyBytes: 'Bytes of request bodies held, of which BODIES_MAX_MB sets the most.',
    leases: 'Accounts borrowed from the pool.',
    isPoolReachable: '1 when the pool answers.',
    isDatabaseReachable: '1 when the database of client keys and usage answers.',
  };
  const names = {
    turns: 'turns',
    waiting: 'turns_waiting',
    streams: 'streams',
    leases: 'leases',
    bodyBytes: 'request_body_bytes',
    isPoolReachable: 'pool_up',
    isDatabaseReachable: 'database_up',
  };
  noteKeep(options.keep, registers);
  noteLedger(options.ledger, registers);
  noteLoad(options.admission, registers);
  if (options.telemetry) noteDroppedSpans(options.telemetry, registers);
  noteLimits(options.limits, registers);
  for (const name of Object.keys(now) as (keyof typeof now)[]) {
    new Gauge({
      name: `${prefix}${names[name]}`,
      help: now[name],
      registers,
      collect() {
        this.set(Number(options[name]()));
      },
    });
  }

  return {
    turnEnded({ protocol, decoded, client }, { error, route, usage, ...result }, durationMs) {
      const stream = decoded.isStream ? 'yes' : 'no';
      const provider = route?.provider.name ?? 'none';
      turns.inc({ protocol, model: familyOf(decoded.request.model), outcome: error?.code ?? 'success' });
      const { name } = client.managed ?? {};
      if (name !== undefined && keys.size < mostKeys) keys.add(name);
      if (name !== undefined)
        keyTurns.inc({ key: keys.has(name) ? name : 'other', outcome: error ? 'error' : 'success' });
      seconds.observe({ protocol, stream }, durationMs / 1000);
      if (result.firstContentMs !== undefined) {
        firstContent.observe({ protocol, stream }, result.firstContentMs / 1000);
      }
      if (result.attempts > 0) attempts.inc({ provider }, result.attempts);
      if (result.conversation !== undefined) conversations.inc({ result: result.conversation });
      if (usage === undefined) return;
      tokens.inc({ direction: 'input' }, usage.inputTokens);
      tokens.inc({ direction: 'output' }, usage.outputTokens);
      if (usage.credits !== undefined) credits.inc({ provider }, usage.credits);
      if (usage.costCents !== undefined) cost.inc({ provider }, usage.costCents);
    },
    text: () => metricsText(registry),
  };
}

function noteDroppedSpans(telemetry: Pick<Telemetry, 'droppedSpans'>, registers: Registry[]): void {
  new Counter({
    name: `${prefix}spans_dropped_total`,
    help: 'Spans that the collector of traces did not get.',
    registers,
    collect() {
      this.reset();
      this.inc(telemetry.droppedSpans);
    },
  });
}

function noteLimits({ refused, passed }: Pick<Limits, 'refused' | 'passed'>, registers: Registry[]): void {
  new Counter({
    name: `${prefix}turns_limited_total`,
    help: 'Turns that a limit of their client key refused, by the limit.',
    labelNames: ['limit'] as const,
    registers,
    collect() {
      this.reset();
      for (const [limit, count] of refused) this.inc({ limit }, count);
    },
  });
  new Counter({
    name: `${prefix}budgets_passed_total`,
    help: 'Budgets of client keys of which so much was used, each once in its window.',
    labelNames: ['percent'] as const,
    registers,
    collect() {
      this.reset();
      for (const [percent, count] of passed) this.inc({ percent }, count);
    },
  });
}

function noteLoad(admission: Pick<Admission, 'load' | 'reason' | 'refused'>, registers: Registry[]): void {
  new Gauge({
    name: `${prefix}event_loop_delay_seconds`,
    help: 'How long what was due waited lately, on average.',
    registers,
    collect() {
      this.set(admission.load.delayMs / 1000);
    },
  });
  new Gauge({
    name: `${prefix}heap_used_ratio`,
    help: 'Of the memory that V8 may take.',
    registers,
    collect() {
      this.set(admission.load.heapShare);
    },
  });
  new Gauge({
    name: `${prefix}overloaded`,
    help: '1 while new turns are refused because the process has more work than it can do.',
    registers,
    collect() {
      this.set(Number(admission.reason !== undefined));
    },
  });
  new Counter({
    name: `${prefix}turns_shed_total`,
    help: 'Turns refused for that, by what was short.',
    labelNames: ['cause'] as const,
    registers,
    collect() {
      this.reset();
      for (const [cause, count] of Object.entries(admission.refused)) this.inc({ cause }, count);
    },
  });
}

function noteKeep(keep: Pick<BufferedStore, 'figures' | 'failures'>, registers: Registry[]): void {
  const gauges = {
    bytes: 'Bytes of conversations and stored responses in the keep; on a shared database as counted last.',
    entries: 'Entries of the keep.',
    unwritten: 'Changes of the keep that are only in memory yet.',
  } as const;
  for (const [name, help] of Object.entries(gauges)) {
    new Gauge({
      name: `${prefix}keep_${name}`,
      help,
      registers,
      collect() {
        this.set(keep.figures()[name as keyof typeof gauges]);
      },
    });
  }
  new Gauge({
    name: `${prefix}keep_up`,
    help: '0 while the store of the keep does not answer or cannot be opened, and memory alone keeps.',
    registers,
    collect() {
      this.set(Number(keep.figures().isReachable));
    },
  });
  new Counter({
    name: `${prefix}keep_failures_total`,
    help: 'Calls of the store of the keep that failed. No turn fails for that.',
    registers,
    collect() {
      this.reset();
      this.inc(keep.failures);
    },
  });
}

function noteLedger(ledger: Pick<UsageLedger, 'figures'>, registers: Registry[]): void {
  new Gauge({
    name: `${prefix}ledger_waiting_turns`,
    help: 'Turns that are not written to the usage ledger yet.',
    registers,
    collect() {
      this.set(ledger.figures.waiting);
    },
  });
  new Counter({
    name: `${prefix}ledger_turns_total`,
    help: 'Turns by what became of them: written to the usage ledger, or dropped since its database took no more.',
    labelNames: ['result'] as const,
    registers,
    collect() {
      this.reset();
      this.inc({ result: 'written' }, ledger.figures.written);
      this.inc({ result: 'dropped' }, ledger.figures.dropped);
    },
  });
}

export function familyOf(model: string): string {
  const name = model.slice(model.lastIndexOf('/') + 1).toLowerCase();
  return families.find((family) => name.startsWith(family)) ?? 'other';
}
