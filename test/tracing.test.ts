import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { startSandbox } from '../sandbox/index.ts';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { type OtlpReceiver, startOtlpReceiver } from './support/otlp-receiver.ts';
import { startProcess } from './support/process.ts';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const callersSpan = 'b7ad6b7169203331';
const traceparent = `00-${traceId}-${callersSpan}-01`;

const sentTo = (receiver: OtlpReceiver) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
  OTEL_METRIC_EXPORT_INTERVAL: '200',
});

/** Two providers, of which the first one fails. */
function overFailing(environment: Record<string, string>) {
  const candidates = [
    '{ provider: one, model: chat-text-unavailable }',
    '{ provider: two, model: chat-text, tier: 2 }',
  ];
  return withUpstreams(
    { one: { protocol: 'chat' }, two: { protocol: 'chat' } },
    `routes:\n  - { model: work, candidates: [${candidates.join(', ')}] }\n`,
    environment,
  );
}

async function ask(services: TestServices, headers: Record<string, string> = {}): Promise<string> {
  const answer = await services.chat(userTurn('work', 'Hello', { stream: true }), headers);
  expect(answer.status).toBe(200);
  await answer.text();
  return answer.headers.get('x-request-id') ?? '';
}

const turnLines = (services: TestServices) =>
  services
    .log()
    .split('\n')
    .filter((line) => line.includes('"msg":"turn"'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('the spans and metrics of a streamed turn that failed over arrive at a collector', async () => {
  const receiver = await startOtlpReceiver();
  const services = await overFailing({
    ...sentTo(receiver),
    OTEL_EXPORTER_OTLP_HEADERS: 'x-collector-key=secret%20one',
    OTEL_SERVICE_NAME: 'my-gateway',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
  });
  const requestId = await ask(services, { traceparent, tracestate: 'vendor=abc' });
  await eventually('the spans arrive', () => receiver.spans.some(({ kind }) => kind === 2));
  const { spans } = receiver;
  const turn = spans.find(({ kind }) => kind === 2);
  const attempts = spans.filter(({ kind }) => kind === 3);
  expect(turn).toMatchObject({
    name: 'POST /v1/chat/completions',
    traceId,
    parentSpanId: callersSpan,
    traceState: 'vendor=abc',
    status: { code: 0, message: '' },
    resource: { 'service.name': 'my-gateway', 'deployment.environment.name': 'test' },
    attributes: {
      'http.request.method': 'POST',
      'http.route': '/v1/chat/completions',
      'http.response.status_code': 200,
      'gen_ai.request.model': 'work',
      'gen_ai.request.stream': true,
      'warp2api.request.id': requestId,
      'warp2api.dialect': 'chat',
      'warp2api.carrier': 'http',
    },
  });
  const failed = attempts.filter(({ status }) => status.code === 2);
  const answered = attempts.find(({ status }) => status.code === 0);
  expect(failed.length).toBeGreaterThan(0);
  expect(attempts).toHaveLength(Number(turn?.attributes['warp2api.attempts']));
  for (const attempt of attempts) {
    expect(attempt).toMatchObject({ traceId, parentSpanId: turn?.spanId });
    expect(attempt.startedAt).toBeGreaterThanOrEqual(turn?.startedAt ?? 0);
    expect(attempt.endedAt).toBeGreaterThanOrEqual(attempt.startedAt);
  }
  expect(failed[0]).toMatchObject({
    name: 'chat chat-text-unavailable',
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'one',
      'error.type': 'model_unavailable',
      'http.response.status_code': 503,
    },
  });
  expect(answered).toMatchObject({
    name: 'chat chat-text',
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'two',
      'gen_ai.request.model': 'chat-text',
      'gen_ai.usage.input_tokens': expect.any(Number),
      'gen_ai.usage.output_tokens': expect.any(Number),
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.response.time_to_first_chunk': expect.any(Number),
      'warp2api.account.choice': 'free',
    },
  });
  expect(answered?.events.map(({ name }) => name)).toContain('warp2api.first_token');
  const failover = turn?.events.find(({ name }) => name === 'warp2api.failover');
  expect(failover?.attributes).toMatchObject({ 'error.type': 'model_unavailable' });
  expect(turn?.events.at(-1)?.name).toBe('warp2api.first_token');
  expect(turn?.events.at(-1)?.at).toBeGreaterThanOrEqual(failover?.at ?? Number.POSITIVE_INFINITY);

  // Where a person looks for it.
  expect(turnLines(services).at(-1)).toMatchObject({ request_id: requestId, trace_id: traceId });
  const shown = await fetch(`${services.gatewayUrl}/api/turns/${requestId}`);
  expect(await shown.json()).toMatchObject({ trace_id: traceId });

  const ofTwo = (name: string) => (histogram: OtlpReceiver['histograms'][number]) =>
    histogram.name === name && histogram.attributes['gen_ai.provider.name'] === 'two';
  await eventually('the metrics arrive', () => receiver.histograms.some(ofTwo('gen_ai.client.token.usage')));
  const histogram = (name: string) => receiver.histograms.findLast(ofTwo(name));
  expect(histogram('gen_ai.client.operation.duration')).toMatchObject({ unit: 's', count: 1 });
  expect(histogram('gen_ai.client.operation.duration')?.bounds).toContain(81.92);
  expect(histogram('gen_ai.client.operation.time_to_first_chunk')).toMatchObject({ unit: 's', count: 1 });
  const tokens = receiver.histograms.filter(ofTwo('gen_ai.client.token.usage'));
  expect(new Set(tokens.map(({ attributes }) => attributes['gen_ai.token.type']))).toEqual(
    new Set(['input', 'output']),
  );
  expect(tokens[0]).toMatchObject({ unit: '{token}', sum: expect.any(Number) });
  const failure = receiver.histograms.find(({ attributes }) => attributes['error.type'] !== undefined);
  expect(failure?.attributes).toMatchObject({ 'error.type': 'model_unavailable' });
  expect(receiver.requests.every(({ headers }) => headers['x-collector-key'] === 'secret one')).toBe(true);

  // No vendor was told of the trace.
  const seen = [...services.vendors.one.turns, ...services.vendors.two.turns];
  expect(seen.filter(({ headers }) => headers['traceparent'] !== undefined)).toEqual([]);
});

test('only the providers that are named get the trace, as spans of the attempts', async () => {
  const receiver = await startOtlpReceiver();
  const services = await overFailing({ ...sentTo(receiver), TRACE_PROVIDERS: 'two' });
  await ask(services, { traceparent, tracestate: 'vendor=abc' });
  await eventually('the spans arrive', () => receiver.spans.some(({ kind }) => kind === 2));
  expect(services.vendors.one.turns[0]?.headers['traceparent']).toBeUndefined();
  const answered = receiver.spans.find(({ attributes }) => attributes['gen_ai.provider.name'] === 'two');
  expect(services.vendors.two.turns[0]?.headers).toMatchObject({
    traceparent: `00-${traceId}-${answered?.spanId}-01`,
    tracestate: 'vendor=abc',
  });
});

test.each([
  ['of zeros', `00-${'0'.repeat(32)}-${callersSpan}-01`],
  ['of an unknown form', 'not-a-trace'],
  ['in capitals', traceparent.toUpperCase()],
  ['of version 0 with more behind it', `${traceparent}-more`],
  ['of the version that is no version', traceparent.replace(/^00/, 'ff')],
])('a traceparent %s is not taken up', async (_what, given) => {
  const receiver = await startOtlpReceiver();
  const services = await servicesForTest(sentTo(receiver));
  const answer = await services.chat(userTurn('sandbox', 'Hello'), { traceparent: given, tracestate: 'a=b' });
  expect(answer.status).toBe(200);
  const turn = await eventually('a span arrives', () => receiver.spans.find(({ kind }) => kind === 2));
  expect(turn).toMatchObject({ parentSpanId: '', traceState: '' });
  expect(turn.traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
  expect(turn.traceId).not.toBe(traceId);
});

test('a turn that the caller does not sample sends no span, but is named by its trace in the log', async () => {
  const receiver = await startOtlpReceiver();
  const services = await servicesForTest(sentTo(receiver));
  await services.chat(userTurn('sandbox', 'Hello'), { traceparent: traceparent.replace(/01$/, '00') });
  await services.chat(userTurn('sandbox', 'Hello'), {
    traceparent: traceparent.replace(callersSpan, 'aaaaaaaaaaaaaaaa'),
  });
  await eventually('the sampled turn arrives', () => receiver.spans.some(({ kind }) => kind === 2));
  expect(receiver.spans.filter(({ kind }) => kind === 2).map((span) => span.parentSpanId)).toEqual([
    'aaaaaaaaaaaaaaaa',
  ]);
  expect(turnLines(services).map((line) => line['trace_id'])).toEqual([traceId, traceId]);
});

test('a sampler that keeps none sends none, and OTEL_SDK_DISABLED switches all of it off', async () => {
  const receiver = await startOtlpReceiver();
  const sampled = await servicesForTest({ ...sentTo(receiver), OTEL_TRACES_SAMPLER: 'always_off' });
  const off = await servicesForTest({ ...sentTo(receiver), OTEL_SDK_DISABLED: 'true' });
  for (const services of [sampled, off]) {
    expect((await services.chat(userTurn('sandbox', 'Hello'), { traceparent })).status).toBe(200);
  }
  await eventually('the metrics of the first arrive', () => receiver.histograms.length > 0);
  await sampled.close();
  await off.close();
  expect(receiver.spans).toEqual([]);
  expect(turnLines(off)[0]).not.toHaveProperty('trace_id');
});

test('choices of one request are one span, and turns of a WebSocket and in the background have theirs', async () => {
  const receiver = await startOtlpReceiver();
  const services = await servicesForTest({ ...sentTo(receiver), MAX_CHOICES: '2' });
  const answer = await services.chat(userTurn('sandbox', 'Hello', { n: 2 }));
  expect(answer.status).toBe(200);
  const socket = new WebSocket(`${services.gatewayUrl.replace('http', 'ws')}/v1/responses`, {
    headers: { traceparent },
  });
  await new Promise((resolve) => socket.once('open', resolve));
  socket.send(JSON.stringify({ type: 'response.create', model: 'sandbox', input: 'Hello' }));
  await new Promise<void>((resolve) =>
    socket.on('message', (data) => {
      if (String(data).includes('"response.completed"')) resolve();
    }),
  );
  socket.close();
  const begun = await fetch(`${services.gatewayUrl}/v1/responses`, {
    method: 'POST',
    body: JSON.stringify({ model: 'sandbox', input: 'Hello', background: true }),
  });
  expect(begun.status).toBe(200);
  const turns = await eventually('three turns arrive', () => {
    const found = receiver.spans.filter(({ kind }) => kind === 2);
    return found.length >= 3 && found;
  });
  const byCarrier = new Map(turns.map((turn) => [turn.attributes['warp2api.carrier'], turn]));
  expect([...byCarrier.keys()].sort()).toEqual(['background', 'http', 'websocket']);
  expect(turns).toHaveLength(3);
  expect(byCarrier.get('http')?.attributes['warp2api.attempts']).toBe(2);
  expect(byCarrier.get('websocket')).toMatchObject({ name: 'GET /v1/responses', traceId });
});

test('a collector that does not answer costs no turn: spans are dropped, counted and logged once', async () => {
  const receiver = await startOtlpReceiver();
  receiver.status = 400;
  const services = await servicesForTest(sentTo(receiver));
  for (let turn = 0; turn < 3; turn += 1) {
    expect((await services.chat(userTurn('sandbox', 'Hello'))).status).toBe(200);
    const sent = receiver.requests.filter(({ path }) => path === '/v1/traces').length;
    await eventually(
      'the spans are refused',
      () => receiver.requests.filter(({ path }) => path === '/v1/traces').length > sent,
    );
  }
  const dropped = async () => {
    const text = await (await fetch(`${services.gatewayUrl}/metrics`)).text();
    return Number(/^warp2api_gateway_spans_dropped_total (\d+)$/m.exec(text)?.[1]);
  };
  await eventually('all are counted', async () => (await dropped()) === 6);
  expect(services.log().match(/traces could not be sent/g)).toHaveLength(1);
  await eventually('the log says it of metrics', () => services.log().includes('metrics could not be sent'));
  receiver.status = 0;
  await services.chat(userTurn('sandbox', 'Hello'));
  // It waits some seconds for an answer that never comes.
  await services.close();
});

test('with no endpoint nothing is named, counted or sent', async () => {
  const services = await servicesForTest();
  await services.chat(userTurn('sandbox', 'Hello'), { traceparent });
  expect(turnLines(services)[0]).not.toHaveProperty('trace_id');
  expect(await (await fetch(`${services.gatewayUrl}/metrics`)).text()).not.toContain('spans_dropped');
});

test('a pool that runs apart is a part of the trace, and a process that stops sends what waits', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-tracing-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const receiver = await startOtlpReceiver();
  const environment = {
    PORT: '0',
    POOL_SERVICE_PORT: String(await findFreePort()),
    WARP_SERVER_URL: upstream.url,
    SHUTDOWN_SECONDS: '0',
    ...sentTo(receiver),
  };
  const pool = await startProcess(['serve', 'pool'], environment, folder);
  const add = (key: string) =>
    fetch(`${pool.url}/api/accounts`, {
      method: 'POST',
      body: JSON.stringify({ provider: 'warp', api_key: key }),
    });
  await add('wk-1.good');
  const gateway = await startProcess(['serve', 'gateway'], environment, folder);
  const askGateway = (headers: Record<string, string>) =>
    fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers,
      body: JSON.stringify(userTurn('auto', 'Hi')),
    });
  expect((await askGateway({})).status).toBe(200);
  // The account that is held fails, so that this turn has to ask the pool for another one.
  upstream.setKeyScenario('wk-1.good', 'spent');
  await add('wk-2.good');
  expect((await askGateway({ traceparent })).status).toBe(200);
  expect(await gateway.kill('SIGTERM')).toBe(0);
  expect(await pool.kill('SIGTERM')).toBe(0);
  const turn = receiver.spans.find((span) => span.kind === 2 && span.parentSpanId === callersSpan);
  const allocate = receiver.spans.find(({ name }) => name === 'POST /api/accounts/allocate');
  expect(turn).toMatchObject({ traceId, resource: { 'service.name': 'warp2api-gateway' } });
  expect(allocate).toMatchObject({
    traceId,
    parentSpanId: turn?.spanId,
    resource: { 'service.name': 'warp2api-pool' },
    attributes: { 'http.response.status_code': 200 },
  });
  // Calls of no turn have no span.
  expect(receiver.spans.filter(({ resource }) => resource['service.name'] === 'warp2api-pool')).toHaveLength(
    1,
  );
});
