import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { onTestFinished } from 'vitest';

/** A collector of OpenTelemetry: it takes OTLP over HTTP and reads the protobuf by the field numbers of its specification. */

type Value = string | boolean | number | readonly Value[];
type Attributes = Readonly<Record<string, Value>>;

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly name: string;
  /** 2: server, 3: client. */
  readonly kind: number;
  /** In milliseconds. */
  readonly startedAt: number;
  readonly endedAt: number;
  readonly attributes: Attributes;
  readonly events: readonly { readonly name: string; readonly at: number; readonly attributes: Attributes }[];
  readonly status: { readonly code: number; readonly message: string };
  /** Of the process that sent it. */
  readonly resource: Attributes;
}

export interface ReceivedHistogram {
  readonly name: string;
  readonly unit: string;
  readonly count: number;
  readonly sum: number;
  readonly bounds: readonly number[];
  readonly attributes: Attributes;
}

export interface OtlpReceiver {
  readonly url: string;
  readonly spans: ReceivedSpan[];
  readonly histograms: ReceivedHistogram[];
  readonly requests: { readonly path: string; readonly headers: IncomingHttpHeaders }[];
  /** The status of its next answers; 0: none. */
  status: number;
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const received: OtlpReceiver = { url: '', spans: [], histograms: [], requests: [], status: 200 };
  const server = createServer(async (request, response) => {
    const body = await buffer(request).catch(() => undefined);
    // What sent it has ended, or the test has.
    if (body === undefined) return;
    const { url: path = '', headers } = request;
    received.requests.push({ path, headers });
    if (received.status === 0) return;
    if (received.status === 200) {
      const message = fieldsOf(body);
      if (path === '/v1/traces') received.spans.push(...spansIn(message));
      else received.histograms.push(...histogramsIn(message));
    }
    response.writeHead(received.status, { 'content-type': 'application/x-protobuf' }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return Object.assign(received, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

/** A message's fields by their numbers: bytes, or whole numbers of any width. */
type Fields = ReadonlyMap<number, readonly (Uint8Array | bigint)[]>;

function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields = new Map<number, (Uint8Array | bigint)[]>();
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    const value =
      wireType === 2
        ? reader.bytes()
        : BigInt(wireType === 1 ? reader.fixed64() : wireType === 5 ? reader.fixed32() : reader.int64());
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}

const messages = (fields: Fields, number: number): readonly Fields[] =>
  (fields.get(number) ?? []).map((bytes) => fieldsOf(bytes as Uint8Array));
const bytesOf = (fields: Fields, number: number) =>
  (fields.get(number)?.[0] ?? new Uint8Array()) as Uint8Array;
const text = (fields: Fields, number: number) => Buffer.from(bytesOf(fields, number)).toString();
const hex = (fields: Fields, number: number) => Buffer.from(bytesOf(fields, number)).toString('hex');
const whole = (fields: Fields, number: number) => Number(fields.get(number)?.[0] ?? 0);
const millis = (fields: Fields, number: number) => whole(fields, number) / 1_000_000;
const double = (bits: bigint) =>
  new DataView(new BigUint64Array([BigInt.asUintN(64, bits)]).buffer).getFloat64(0, true);

function attributes(fields: Fields, number: number): Attributes {
  return Object.fromEntries(
    messages(fields, number).map((pair) => [text(pair, 1), anyValue(messages(pair, 2)[0] ?? new Map())]),
  );
}

function anyValue(value: Fields): Value {
  if (value.has(1)) return text(value, 1);
  if (value.has(2)) return whole(value, 2) === 1;
  if (value.has(3)) return whole(value, 3);
  if (value.has(4)) return double(value.get(4)?.[0] as bigint);
  return messages(messages(value, 5)[0] ?? new Map(), 1).map(anyValue);
}

function spansIn(request: Fields): ReceivedSpan[] {
  return messages(request, 1).flatMap((resourceSpans) => {
    const resource = attributes(messages(resourceSpans, 1)[0] ?? new Map(), 1);
    const spans = messages(resourceSpans, 2).flatMap((scope) => messages(scope, 2));
    return spans.map((span) => {
      const [status = new Map()] = messages(span, 15);
      return {
        traceId: hex(span, 1),
        spanId: hex(span, 2),
        traceState: text(span, 3),
        parentSpanId: hex(span, 4),
        name: text(span, 5),
        kind: whole(span, 6),
        startedAt: millis(span, 7),
        endedAt: millis(span, 8),
        attributes: attributes(span, 9),
        events: messages(span, 11).map((event) => ({
          name: text(event, 2),
          at: millis(event, 1),
          attributes: attributes(event, 3),
        })),
        status: { code: whole(status, 3), message: text(status, 2) },
        resource,
      };
    });
  });
}

function histogramsIn(request: Fields): ReceivedHistogram[] {
  const metrics = messages(request, 1)
    .flatMap((resource) => messages(resource, 2))
    .flatMap((scope) => messages(scope, 2));
  return metrics.flatMap((metric) =>
    messages(metric, 9)
      .flatMap((histogram) => messages(histogram, 1))
      .map((point) => {
        const packed = bytesOf(point, 7);
        const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
        const bounds = Array.from({ length: packed.byteLength / 8 }, (_, at) =>
          view.getFloat64(at * 8, true),
        );
        return {
          name: text(metric, 1),
          unit: text(metric, 3),
          count: whole(point, 4),
          sum: double(point.get(5)?.[0] as bigint),
          bounds,
          attributes: attributes(point, 9),
        };
      }),
  );
}
