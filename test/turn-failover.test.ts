import { describe, expect, it } from 'vitest';
import type { Fault } from '../sandbox/vendor/faults.ts';
import { userTurn } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

const route = (more = '') => `routes:
  - model: both
    candidates:
      - { provider: one, model: chat-text }
      - { provider: two, model: claude-text }
${more}`;

/** Two vendors of different protocols behind one name; the first plays these faults. */
async function failing(steps: readonly Fault[], then: Fault = 'sound', more = '') {
  const services = await withUpstreams(
    { one: { protocol: 'chat' }, two: { protocol: 'messages' } },
    route(more),
  );
  services.vendors.one.script('chat-text', steps, then);
  return services;
}

type Services = Awaited<ReturnType<typeof failing>>;

async function ask(services: Services, stream: boolean, delivery?: string) {
  const headers = delivery === undefined ? {} : { 'x-warp2api-delivery': delivery };
  const answer = await services.chat(userTurn('both', 'Hello', { stream }), headers);
  const body = await answer.text();
  return {
    status: answer.status,
    headers: answer.headers,
    body,
    text: stream ? streamedText(body) : (JSON.parse(body).choices?.[0]?.message?.content as string),
    tries: [services.vendors.one.turns.length, services.vendors.two.turns.length],
  };
}

function streamedText(body: string): string {
  return body
    .split('\n\n')
    .flatMap((event) => (event.startsWith('data: {') ? [JSON.parse(event.slice('data: '.length))] : []))
    .map((chunk) => chunk.choices?.[0]?.delta?.content ?? '')
    .join('');
}

const whole = 'Hello from the upstream – ünïcode.';

describe.each([true, false])('before any content (stream: %s)', (stream) => {
  it.each<[Fault, readonly [number, number]]>([
    ['error', [2, 1]],
    // The model is overloaded: it is not asked again where another answers.
    ['unavailable', [1, 1]],
    ['reset', [1, 1]],
    ['rate-limited', [1, 1]],
    ['too-long', [1, 1]],
  ])('%s leads to the other candidate, in its own dialect', async (fault, tries) => {
    const services = await failing([], fault);
    const answer = await ask(services, stream);
    expect([answer.status, answer.tries]).toEqual([200, tries]);
    expect(answer.text).toBe(whole);
    expect(answer.headers.get('x-warp2api-model')).toBe('two/claude-text');
    if (stream) expect(answer.body).toContain('data: [DONE]');
  });

  it('one 500 is met with another try at the same candidate', async () => {
    const services = await failing(['error']);
    expect(await ask(services, stream)).toMatchObject({ status: 200, tries: [2, 0], text: whole });
  });
});

it('a Retry-After of two seconds is waited for where there is no other account', async () => {
  const services = await withUpstreams({ one: { protocol: 'chat' } });
  services.vendors.one.script('chat-text', ['rate-limited']);
  const startedAt = performance.now();
  const answer = await services.chat(userTurn('one/chat-text', 'Hello'));
  expect(answer.status).toBe(200);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(2_000);
  expect(services.vendors.one.turns).toHaveLength(2);
});

describe('a silent upstream', () => {
  it.each([
    [true, undefined],
    [true, 'whole'],
    [false, 'whole'],
  ])('is given up for the other candidate (stream: %s, delivery: %s)', async (stream, delivery) => {
    const services = await failing(['silence'], 'sound', '    first_content_timeout_seconds: 1\n');
    const answer = await ask(services, stream, delivery);
    expect(answer).toMatchObject({ status: 200, tries: [1, 1], text: whole });
  });
});

it('a stream that is cut after content ends with an error, and never well', async () => {
  const services = await failing([], 'cut');
  const { body, tries } = await ask(services, true);
  expect(body).toContain('"error"');
  expect(body).not.toContain('[DONE]');
  expect(body).not.toContain('"finish_reason":"stop"');
  expect(tries).toEqual([1, 0]);
});

describe.each<Fault>(['cut', 'accounting'])('after content (%s)', (fault) => {
  it.each([true, false])('`whole` has the whole answer of another attempt (stream: %s)', async (stream) => {
    const services = await failing([], fault);
    const { body, text } = await ask(services, stream, 'whole');
    expect(text).toBe(whole);
    expect(body).not.toContain('"error"');
    if (stream) expect(body.match(/\[DONE\]/g)).toHaveLength(1);
  });

  it('`continue` sends what is new of an answer that begins the same', async () => {
    const services = await failing([], fault);
    const { body, text } = await ask(services, true, 'continue');
    expect(text).toBe(whole);
    expect(body).toContain('[DONE]');
  });
});

it('a delivery that is unknown is refused by name', async () => {
  const services = await failing([]);
  const { status, body } = await ask(services, false, 'twice');
  expect(status).toBe(400);
  expect(JSON.parse(body).error).toMatchObject({ param: 'x-warp2api-delivery' });
  expect(services.vendors.one.turns).toHaveLength(0);
});

it('an upstream that fails turn after turn is passed over, and /health says so', async () => {
  const services = await failing([], 'unavailable');
  for (let turn = 0; turn < 4; turn += 1) expect((await ask(services, false)).status).toBe(200);
  expect(services.vendors.one.turns).toHaveLength(3);
  const health = await (await fetch(`${services.gatewayUrl}/health`)).json();
  expect(health).toMatchObject({ open_circuits: ['one/chat-text'] });
  const metrics = await (await fetch(`${services.gatewayUrl}/metrics`)).text();
  expect(metrics).toContain('warp2api_gateway_circuits_open{provider="one"} 1');
});
