import { z } from 'zod';
import { count, flag, httpUrl, list, type SettingTable, setting, type ValuesOf } from '../setting.ts';

const samplers = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;
export type SamplerName = (typeof samplers)[number];

/** `name=value` pairs, separated by commas, percent-encoded where need be. */
const pairs = list.transform((items, context) =>
  items.map((item): readonly [string, string] => {
    const [, name = '', value = ''] = /^\s*([^=\s]+)\s*=\s*(.*)$/.exec(item) ?? [];
    if (name === '')
      context.addIssue({ code: 'custom', message: 'must be name=value pairs, with commas between' });
    try {
      return [decodeURIComponent(name), decodeURIComponent(value)];
    } catch {
      context.addIssue({
        code: 'custom',
        message: `has a value with a bare % (of ${name}): write it as %25`,
      });
      return [name, ''];
    }
  }),
);

/** The standard variables of OpenTelemetry, and what is beside them ours. */
export const telemetrySettings = {
  OTEL_EXPORTER_OTLP_ENDPOINT: setting({
    schema: httpUrl,
    help: 'OpenTelemetry collector that gets traces and metrics by OTLP over HTTP, such as http://127.0.0.1:4318. Unset: none, and nothing of OpenTelemetry is loaded.',
  }),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: setting({
    schema: httpUrl,
    help: 'Whole address for traces. Unset: /v1/traces at OTEL_EXPORTER_OTLP_ENDPOINT; if only this is set, no metrics are sent.',
  }),
  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: setting({
    schema: httpUrl,
    help: 'Whole address for metrics. Unset: /v1/metrics at OTEL_EXPORTER_OTLP_ENDPOINT; if only this is set, no traces are sent.',
  }),
  OTEL_EXPORTER_OTLP_HEADERS: setting({
    schema: pairs,
    isSecret: true,
    help: 'Headers for the collector: name=value, separated by commas, with special characters percent-encoded.',
  }),
  OTEL_EXPORTER_OTLP_PROTOCOL: setting({
    default: 'http/protobuf',
    schema: z
      .string()
      .pipe(
        z.enum(
          ['http/protobuf'],
          'must be http/protobuf: no other protocol is supported; most collectors take it on port 4318',
        ),
      ),
    help: 'http/protobuf, the only protocol that is supported.',
  }),
  OTEL_SERVICE_NAME: setting({
    schema: z.string().max(255),
    help: 'The service.name of traces and metrics. Unset: warp2api, or warp2api-gateway and warp2api-pool where they run apart.',
  }),
  OTEL_RESOURCE_ATTRIBUTES: setting({
    schema: pairs,
    help: 'Further attributes of this process, such as deployment.environment.name=production,region=eu.',
  }),
  OTEL_TRACES_SAMPLER: setting({
    default: 'parentbased_always_on',
    schema: z.string().pipe(z.enum(samplers, `must be one of ${samplers.join(', ')}`)),
    help: 'Which turns are traced. parentbased_ samplers follow the trace that a client sends.',
  }),
  OTEL_TRACES_SAMPLER_ARG: setting({
    default: '1',
    schema: z
      .string()
      .regex(/^(0(\.\d+)?|1(\.0+)?)$/, 'must be a number from 0 to 1')
      .transform(Number),
    help: 'The share of traces that the traceidratio samplers keep, from 0 to 1.',
  }),
  OTEL_METRIC_EXPORT_INTERVAL: setting({
    default: '60000',
    schema: count(100, 86_400_000),
    help: 'Milliseconds between two exports of metrics.',
  }),
  OTEL_SDK_DISABLED: setting({
    default: 'false',
    schema: flag,
    help: 'true: neither traces nor metrics are sent, whatever else is set.',
  }),
  TRACE_PROVIDERS: setting({
    schema: list,
    help: 'Providers, separated by commas, whose upstreams get the trace of a turn as the header traceparent; * is all. Unset: none does. Needs an endpoint for traces.',
  }),
} as const satisfies SettingTable;

export type TelemetrySettings = NonNullable<ReturnType<typeof telemetryOf>>;

/** Undefined where nothing is to be sent anywhere. */
export function telemetryOf(values: ValuesOf<typeof telemetrySettings>) {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: all } = values;
  const tracesUrl = values.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? (all && `${all}/v1/traces`);
  const metricsUrl = values.OTEL_EXPORTER_OTLP_METRICS_ENDPOINT ?? (all && `${all}/v1/metrics`);
  if (values.OTEL_SDK_DISABLED || (tracesUrl === undefined && metricsUrl === undefined)) return undefined;
  return {
    tracesUrl,
    metricsUrl,
    headers: Object.fromEntries(values.OTEL_EXPORTER_OTLP_HEADERS ?? []),
    serviceName: values.OTEL_SERVICE_NAME,
    attributes: Object.fromEntries(values.OTEL_RESOURCE_ATTRIBUTES ?? []),
    sampler: values.OTEL_TRACES_SAMPLER,
    sampledShare: values.OTEL_TRACES_SAMPLER_ARG,
    metricsEveryMs: values.OTEL_METRIC_EXPORT_INTERVAL,
    /** Whose upstreams get the trace of a turn; `*` is all. */
    tracedProviders: values.TRACE_PROVIDERS ?? [],
  };
}
