import { createRequire } from 'node:module';
import type prometheus from 'prom-client';

// The package as a whole loads its gateways and clusters as well, which takes 30 ms and 2 MiB.
const require = createRequire(import.meta.url);
export const Registry = require('prom-client/lib/registry') as typeof prometheus.Registry;
export const Counter = require('prom-client/lib/counter') as typeof prometheus.Counter;
export const Gauge = require('prom-client/lib/gauge') as typeof prometheus.Gauge;
export const Histogram = require('prom-client/lib/histogram') as typeof prometheus.Histogram;

/** The process's own figures; one set, however many services it runs, and none before the first request for it. */
let processRegistry: prometheus.Registry | undefined;

export const metricsType = Registry.PROMETHEUS_CONTENT_TYPE;

/** A service's figures and its process's, as Prometheus reads them. */
export async function metricsText(registry: prometheus.Registry): Promise<string> {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    const collectDefaultMetrics =
      require('prom-client/lib/defaultMetrics') as typeof prometheus.collectDefaultMetrics;
    collectDefaultMetrics({ register: processRegistry });
  }
  return `${await registry.metrics()}\n${await processRegistry.metrics()}`;
}

/** Bounds in seconds for what takes milliseconds to a minute. */
export const callSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
