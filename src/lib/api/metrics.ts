import { collectDefaultMetrics, Registry } from 'prom-client';
import { amount } from '../parse-json.ts';

/** The process's own figures; one set, however many services it runs, and none before the first request for it. */
let processRegistry: Registry | undefined;

/** Gauges whose names end as only those of counters may; the sums of `nodejs_active_handles` and the like are the same. */
const misnamed = ['handles', 'requests', 'resources'].map((what) => `nodejs_active_${what}_total`);

export const metricsType = Registry.PROMETHEUS_CONTENT_TYPE;

/** A service's figures and its process's, as Prometheus reads them. */
export async function metricsText(
  registry: Registry,
  ...histograms: readonly LightHistogram[]
): Promise<string> {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
    for (const name of misnamed) processRegistry.removeSingleMetric(name);
  }
  const own = histograms.map((histogram) => `${histogram.text()}\n`).join('\n');
  return [await registry.metrics(), own, await processRegistry.metrics()].filter(Boolean).join('\n');
}

/** Bounds in seconds for what takes milliseconds to a minute. */
export const callSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * Sums by the values of labels, several with a line feed between them, for what is counted at every turn: those of a library look at
 * each label's name each time.
 */
export class Sums {
  readonly #sums = new Map<string, number>();

  /** Figures come from upstreams: what is no amount counts nothing. */
  add(figure: number, values: string): void {
    this.#sums.set(values, (this.#sums.get(values) ?? 0) + amount(figure));
  }

  *all(): Generator<[values: readonly string[], sum: number]> {
    for (const [values, sum] of this.#sums) yield [values.split('\n'), sum];
  }
}

/** The same for times. Labels are given as Prometheus reads them: `protocol="chat"`. */
export class LightHistogram {
  readonly #name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #seen = new Map<string, { readonly counts: number[]; sum: number }>();

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
  }

  observe(labels: string, value: number): void {
    let seen = this.#seen.get(labels);
    if (!seen) {
      seen = { counts: [...this.#bounds, 0].fill(0), sum: 0 };
      this.#seen.set(labels, seen);
    }
    let at = 0;
    while (value > (this.#bounds[at] ?? value)) at += 1;
    seen.counts[at] = (seen.counts[at] ?? 0) + 1;
    seen.sum += value;
  }

  text(): string {
    const name = this.#name;
    const lines = [`# HELP ${name} ${this.#help}`, `# TYPE ${name} histogram`];
    for (const [labels, { counts, sum }] of this.#seen) {
      let count = 0;
      for (const [at, bound] of [...this.#bounds, '+Inf'].entries()) {
        count += counts[at] ?? 0;
        lines.push(`${name}_bucket{le="${bound}",${labels}} ${count}`);
      }
      lines.push(`${name}_sum{${labels}} ${sum}`, `${name}_count{${labels}} ${count}`);
    }
    return lines.join('\n');
  }
}
