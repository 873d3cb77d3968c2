import { collectDefaultMetrics, Registry } from 'prom-client';

/** The process's own figures; one set, however many services it runs, and none before the first request for it. */
let processRegistry: Registry | undefined;

/** Gauges whose names end as only those of counters may; the sums of `nodejs_active_handles` and the like are the same. */
const misnamed = ['handles', 'requests', 'resources'].map((what) => `nodejs_active_${what}_total`);

export const metricsType = Registry.PROMETHEUS_CONTENT_TYPE;

/** A service's figures and its process's, as Prometheus reads them. */
export async function metricsText(registry: Registry): Promise<string> {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
    for (const name of misnamed) processRegistry.removeSingleMetric(name);
  }
  return `${await registry.metrics()}\n${await processRegistry.metrics()}`;
}

/** Bounds in seconds for what takes milliseconds to a minute. */
export const callSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
