import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { callSeconds, metricsText } from '../lib/metrics.ts';
import type { TurnSummary } from './run-turn.ts';

/** The gateway's figures: one note for each turn, at its end. Labels are words of our own, never a client's. */
export interface GatewayMetrics {
  turnEnded(turn: {
    readonly protocol: string;
    /** As the client named it. */
    readonly model: string;
    readonly isStream: boolean;
    readonly durationMs: number;
    readonly summary: TurnSummary;
  }): void;
  text(): Promise<string>;
}

const prefix = 'warp2api_gateway_';
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
  streams(): number;
  leases(): number;
  isPoolReachable(): boolean;
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
  const now = {
    turns: 'Turns under way.',
    streams: 'Streams open.',
    leases: 'Accounts borrowed from the pool.',
    isPoolReachable: '1 when the pool answers.',
  };
  const names = { turns: 'turns', streams: 'streams', leases: 'leases', isPoolReachable: 'pool_up' };
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
    turnEnded({ protocol, model, isStream, durationMs, summary }) {
      const stream = isStream ? 'yes' : 'no';
      turns.inc({ protocol, model: familyOf(model), outcome: summary.error?.code ?? 'success' });
      seconds.observe({ protocol, stream }, durationMs / 1000);
      if (summary.firstContentMs !== undefined) {
        firstContent.observe({ protocol, stream }, summary.firstContentMs / 1000);
      }
      if (summary.attempts > 0) attempts.inc({ provider: summary.provider ?? 'none' }, summary.attempts);
      if (summary.usage === undefined) return;
      tokens.inc({ direction: 'input' }, summary.usage.inputTokens);
      tokens.inc({ direction: 'output' }, summary.usage.outputTokens);
    },
    text: () => metricsText(registry),
  };
}

export function familyOf(model: string): string {
  const name = model.slice(model.lastIndexOf('/') + 1).toLowerCase();
  return families.find((family) => name.startsWith(family)) ?? 'other';
}
