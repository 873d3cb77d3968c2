import { randomUUID } from 'node:crypto';
import {
  type Attributes,
  type Context,
  defaultTextMapGetter,
  defaultTextMapSetter,
  INVALID_SPAN_CONTEXT,
  type Meter,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  type IdGenerator,
  ParentBasedSampler,
  RandomIdGenerator,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { type Clock, within } from '../clock.ts';
import { errorMessage } from '../errors.ts';
import { type Logger, onceAMinute } from '../log/logger.ts';
import { version } from '../version.ts';
import type { SamplerName, TelemetrySettings } from './telemetry-settings.ts';
import type { TraceHeaders } from './trace-headers.ts';

/** Spans that wait to be sent, at most; while the collector does not answer, newer ones are dropped and counted. */
const mostWaiting = 2_048;
const perBatch = 512;
/** Of one export with all that it is tried again. A process that stops waits no longer for its last one. */
const exportMs = 5_000;
const scope = 'warp2api';

/** What is known of a span when the work it stands for begins. */
export interface BegunSpan {
  readonly traceId: string;
  readonly isSampled: boolean;
  /** The parent's, where the trace came from elsewhere. */
  readonly parent: Context;
  readonly context: SpanContext;
  /** For those that are called meanwhile. */
  readonly headers: TraceHeaders;
}

export interface EndedSpan {
  readonly name: string;
  readonly kind: 'server' | 'client';
  readonly startedAt: number;
  readonly endedAt: number;
  readonly attributes: Attributes;
  readonly events: readonly { readonly name: string; readonly at: number; readonly attributes: Attributes }[];
  /** Why it failed, in words; undefined where it did not. */
  readonly failure: string | undefined;
}

/** Traces and metrics by OTLP. This file alone loads OpenTelemetry, and only where an endpoint is set. */
export class Telemetry {
  readonly meter: Meter | undefined;
  readonly #settings: TelemetrySettings;
  readonly #clock: Clock;
  readonly #propagator = new W3CTraceContextPropagator();
  readonly #random = new RandomIdGenerator();
  readonly #sampler: Sampler;
  readonly #ids = new GivenIds();
  readonly #spans: CountedSpans | undefined;
  readonly #tracer: Tracer | undefined;
  readonly #meters: MeterProvider | undefined;

  constructor(settings: TelemetrySettings, serviceName: string, clock: Clock, logger: Logger) {
    this.#settings = settings;
    this.#clock = clock;
    this.#sampler = samplerNamed(settings.sampler, settings.sampledShare);
    const resource = resourceFromAttributes({
      'service.instance.id': randomUUID(),
      'service.name': serviceName,
      'service.version': version,
      ...settings.attributes,
      ...(settings.serviceName && { 'service.name': settings.serviceName }),
    });
    const { tracesUrl, metricsUrl, headers } = settings;
    const options = { headers, timeoutMillis: exportMs };
    if (tracesUrl !== undefined) {
      const failed = onceAMinute(clock, (_count, message: string) =>
        logger.warn(
          { dropped_spans: this.droppedSpans, reason: message },
          'traces could not be sent to OTEL_EXPORTER_OTLP_ENDPOINT; turns go on without them',
        ),
      );
      this.#spans = new CountedSpans(new OTLPTraceExporter({ ...options, url: tracesUrl }), failed);
      const provider = new TracerProvider({
        resource,
        // It was decided when the span began.
        sampler: new AlwaysOnSampler(),
        idGenerator: this.#ids,
        spanProcessors: [this.#spans],
      });
      this.#tracer = provider.getTracer(scope, version);
    }
    if (metricsUrl !== undefined) {
      const failed = onceAMinute(clock, (_count, message: string) =>
        logger.warn(
          { reason: message },
          'metrics could not be sent to OTEL_EXPORTER_OTLP_ENDPOINT; they are sent again with the next ones',
        ),
      );
      const reader = new PeriodicExportingMetricReader({
        exporter: watched(new OTLPMetricExporter({ ...options, url: metricsUrl }), failed),
        exportIntervalMillis: settings.metricsEveryMs,
        exportTimeoutMillis: Math.min(exportMs, settings.metricsEveryMs),
      });
      this.#meters = new MeterProvider({ resource, readers: [reader] });
      this.meter = this.#meters.getMeter(scope, version);
    }
  }

  /** Spans that the collector did not get: it did not answer, or too many waited. */
  get droppedSpans(): number {
    return this.#spans?.dropped ?? 0;
  }

  /** Whether this provider's upstreams get the trace of a turn. */
  isPassedTo(provider: string): boolean {
    const { tracedProviders } = this.#settings;
    return tracedProviders.includes('*') || tracedProviders.includes(provider);
  }

  /** Goes on with the caller's trace where its headers are valid, else begins one. Undefined where no traces are sent. */
  begin(given: TraceHeaders | undefined): BegunSpan | undefined {
    if (!this.#tracer) return undefined;
    const parent = given ? this.#propagator.extract(ROOT_CONTEXT, given, defaultTextMapGetter) : ROOT_CONTEXT;
    const { traceId = this.#random.generateTraceId(), traceState: stateBefore } =
      trace.getSpanContext(parent) ?? {};
    const { decision, traceState = stateBefore } = this.#sampler.shouldSample(
      parent,
      traceId,
      '',
      SpanKind.SERVER,
      {},
      [],
    );
    const isSampled = decision === SamplingDecision.RECORD_AND_SAMPLED;
    const context: SpanContext = {
      traceId,
      spanId: this.#random.generateSpanId(),
      traceFlags: isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
      ...(traceState && { traceState }),
    };
    return { traceId, isSampled, parent, context, headers: this.headersOf(context) };
  }

  /** The ids of a span below another one. */
  child({ context }: BegunSpan): SpanContext {
    return { ...context, spanId: this.#random.generateSpanId() };
  }

  headersOf(context: SpanContext): TraceHeaders {
    const headers: Record<string, string> = {};
    this.#propagator.inject(trace.setSpanContext(ROOT_CONTEXT, context), headers, defaultTextMapSetter);
    const { traceparent = '', tracestate } = headers;
    return tracestate === undefined ? { traceparent } : { traceparent, tracestate };
  }

  /** Records a span that has ended; `at`: the ids it was begun with, below `parent`. */
  record(parent: Context, at: SpanContext, ended: EndedSpan): void {
    if (!this.#tracer) return;
    this.#ids.next = at;
    const { name, kind, attributes, events, failure } = ended;
    const span: Span = this.#tracer.startSpan(
      name,
      { kind: kind === 'server' ? SpanKind.SERVER : SpanKind.CLIENT, attributes, startTime: ended.startedAt },
      parent,
    );
    for (const event of events) span.addEvent(event.name, event.attributes, event.at);
    if (failure !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: failure });
    span.end(ended.endedAt);
  }

  /** Sends what waits, within a few seconds. */
  async close(): Promise<void> {
    const last = Promise.allSettled([this.#spans?.shutdown(), this.#meters?.shutdown()]);
    await within(last, this.#clock, exportMs);
  }
}

/** What is below a span in its trace. */
export function below(context: SpanContext): Context {
  return trace.setSpanContext(ROOT_CONTEXT, context);
}

/** Spans are made when they have ended, with the ids that were passed on when they began. */
class GivenIds implements IdGenerator {
  next = INVALID_SPAN_CONTEXT;

  generateTraceId(): string {
    return this.next.traceId;
  }

  generateSpanId(): string {
    return this.next.spanId;
  }
}

/** An exporter that says when it fails: the reader's own report goes nowhere. */
function watched(exporter: PushMetricExporter, onFailed: (reason: string) => void): PushMetricExporter {
  const send = exporter.export.bind(exporter);
  exporter.export = (metrics, done) =>
    send(metrics, (result) => {
      if (result.code !== ExportResultCode.SUCCESS) onFailed(errorMessage(result.error ?? 'unknown'));
      done(result);
    });
  return exporter;
}

/** The queue of the package, with a count of what it and the exporter lost. */
class CountedSpans implements SpanProcessor {
  readonly #queue: BatchSpanProcessor;
  #waiting = 0;
  dropped = 0;

  constructor(exporter: SpanExporter, onFailed: (reason: string) => void) {
    const counted: SpanExporter = {
      export: (spans, done) => {
        this.#waiting -= spans.length;
        exporter.export(spans, (result: ExportResult) => {
          if (result.code !== ExportResultCode.SUCCESS) {
            this.dropped += spans.length;
            onFailed(errorMessage(result.error ?? 'unknown'));
          }
          // The queue's own report of a failure would be a second one.
          done({ code: ExportResultCode.SUCCESS });
        });
      },
      shutdown: () => exporter.shutdown(),
    };
    this.#queue = new BatchSpanProcessor({
      exporter: counted,
      maxQueueSize: mostWaiting,
      maxExportBatchSize: perBatch,
      scheduledDelayMillis: 1_000,
    });
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if (this.#waiting >= mostWaiting) {
      this.dropped += 1;
      return;
    }
    this.#waiting += 1;
    this.#queue.onEnd(span);
  }

  forceFlush(): Promise<void> {
    return this.#queue.forceFlush();
  }

  shutdown(): Promise<void> {
    return this.#queue.shutdown();
  }
}

function samplerNamed(name: SamplerName, share: number): Sampler {
  const own = name.replace('parentbased_', '');
  const root =
    own === 'always_off'
      ? new AlwaysOffSampler()
      : own === 'always_on'
        ? new AlwaysOnSampler()
        : new TraceIdRatioBasedSampler(share);
  return own === name ? root : new ParentBasedSampler({ root });
}
