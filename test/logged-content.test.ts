import { expect, test } from 'vitest';
import { startOtlpReceiver } from './support/otlp-receiver.ts';
import { eventually, servicesForTest, type TestServices, userTurn } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

const question =
  'My key is sk-proj-abcdefghijklmnop and my address me@example.com; project Bluebird is secret.';

interface Turn {
  readonly content: Record<'input' | 'output', { parts: { content: string }[] }[]> | null;
}

async function ask(services: TestServices, more: Record<string, unknown> = {}, model = 'sandbox') {
  const answer = await services.chat(userTurn(model, question, more));
  expect(answer.status).toBe(200);
  await answer.text();
  const id = answer.headers.get('x-request-id') ?? '';
  const turn = await (await fetch(`${services.gatewayUrl}/api/turns/${id}`)).json();
  return turn as Turn;
}

const linesWithContent = (services: TestServices) =>
  services
    .log()
    .split('\n')
    .filter((line) => line.includes('the content of a turn'));

test('nothing of what is said is kept unless that is set', async () => {
  const services = await servicesForTest();
  expect((await ask(services)).content).toBeNull();
  expect(services.log()).not.toContain('Bluebird');
});

test('content is logged and shown without keys, addresses and what the operator removes', async () => {
  const receiver = await startOtlpReceiver();
  const services = await servicesForTest({
    LOG_CONTENT: 'on',
    LOG_CONTENT_REDACT: 'project \\w+',
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
  });
  const { content } = await ask(services, { stream: true });
  const said = 'My key is [redacted] and my address [redacted]; [redacted] is secret.';
  expect(content).toMatchObject({
    omitted_messages: 0,
    input: [{ role: 'user', parts: [{ type: 'text', content: said }] }],
    output: [{ role: 'assistant', parts: [{ type: 'text' }] }],
  });
  expect(content?.output[0]?.parts[0]?.content).not.toBe('');
  expect(linesWithContent(services).map((line) => JSON.parse(line))).toMatchObject([
    { input: content?.input },
  ]);
  const attempt = await eventually('the span arrives', () => receiver.spans.find(({ kind }) => kind === 3));
  expect(JSON.parse(String(attempt.attributes['gen_ai.input.messages']))).toEqual([
    { role: 'user', parts: [{ type: 'text', content: said }] },
  ]);
  expect(attempt.attributes['gen_ai.output.messages']).toContain('assistant');
  // The list of turns shows none of it.
  const list = await (await fetch(`${services.gatewayUrl}/api/turns`)).text();
  expect(list).not.toContain('is secret');
  expect(services.log()).not.toMatch(/Bluebird|sk-proj|me@example/);
});

test('keys of vendors are known by their form', async () => {
  const services = await servicesForTest({ LOG_CONTENT: 'yes' });
  const secrets = [
    'wk-1.0123456789abcdef0123456789abcdef',
    'ya29.a0AfH6SMBx1234567890',
    `eyJ${'a'.repeat(30)}.eyJ${'b'.repeat(30)}.c`,
    '-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOYBGAB\n-----END PGP PRIVATE KEY BLOCK-----',
  ];
  const { content } = await ask(services, {
    messages: [
      { role: 'user', content: secrets.join(' and ') },
      { role: 'user', content: 'Authorization: Bearer   abcdefghijklmnopqr' },
    ],
  });
  expect(content?.input.map(({ parts }) => parts[0]?.content)).toEqual([
    secrets.map(() => '[redacted]').join(' and '),
    'Authorization: Bearer   [redacted]',
  ]);
});

test.each([
  ['letters', 'a'.repeat(250_000)],
  ['spaces', `${' '.repeat(250_000)}.`],
  ['what begins as a token', 'eyJaaaaaaaa-'.repeat(20_000)],
])('a long run of %s in a prompt holds up nobody', { timeout: 30_000 }, async (_name, run) => {
  const services = await servicesForTest({ LOG_CONTENT: 'on', LOG_CONTENT_MAX_KB: '256' });
  const { content } = await ask(services, { messages: [{ role: 'user', content: run }] });
  expect(content?.input[0]?.parts[0]?.content).toHaveLength(run.length);
});

test('of a long conversation the last messages are kept', async () => {
  const services = await servicesForTest({
    LOG_CONTENT: 'on',
    LOG_CONTENT_MAX_KB: '1',
    LOG_CONTENT_EMAILS: 'yes',
  });
  const messages = [
    { role: 'user', content: 'old '.repeat(300) },
    { role: 'assistant', content: 'middle '.repeat(200) },
    { role: 'user', content: `${question} ${'new '.repeat(10)}` },
  ];
  const { content } = await ask(services, { messages });
  expect(content).toMatchObject({ omitted_messages: 1, input: [{ role: 'assistant' }, { role: 'user' }] });
  const texts = content?.input.flatMap(({ parts }) => parts.map((part) => part.content)) ?? [];
  expect(texts.join('').length).toBeLessThanOrEqual(1_001);
  expect(texts[1]).toContain('me@example.com');
});

test.each([true, false])('a relayed answer is kept as it came (stream: %s)', async (stream) => {
  const services = await withUpstreams({ one: { protocol: 'chat' } }, '', { LOG_CONTENT: 'on' });
  const { content } = await ask(services, { stream }, 'one/chat-text');
  expect(content).toMatchObject({
    input: [{ role: 'user', parts: [{ type: 'text', content: expect.stringContaining('[redacted]') }] }],
    output: [{ parts: [{ type: 'relayed', content: expect.stringContaining('chat.completion') }] }],
  });
});

test('what only its upstream understands is kept as it came, without files and secrets, and bounded', async () => {
  const services = await withUpstreams({ one: { protocol: 'chat' } }, '', { LOG_CONTENT: 'on' });
  const file = 'QUJD'.repeat(2_000);
  const messages = [
    {
      role: 'user',
      content: [
        { type: 'input_audio', input_audio: { data: file } },
        { type: 'text', text: `${question} ${'more '.repeat(5_000)}` },
      ],
    },
  ];
  const { content } = await ask(services, { messages }, 'one/chat-text');
  const [kept = ''] = content?.input.flatMap(({ parts }) => parts.map((part) => part.content)) ?? [];
  expect(kept).toContain('input_audio');
  expect(kept).toContain('8000 characters of base64');
  expect(kept).toContain('My key is [redacted] and my address [redacted]');
  expect(kept).not.toContain('QUJDQUJD');
  expect(kept.length).toBeLessThanOrEqual(8_001);
});

test('a client key that there is not is named at the start', async () => {
  const services = await servicesForTest({ LOG_CONTENT: 'nosuchkey' });
  expect(services.log()).toMatch(/LOG_CONTENT names \\?"nosuchkey\\?"/);
});

test('of an image nothing is kept that opens it', async () => {
  const services = await withUpstreams({ one: { protocol: 'chat' } }, '', { LOG_CONTENT: 'on' });
  const url = 'https://user:hidden-1@files.example.com/hidden-2.png?X-Amz-Signature=hidden-3';
  const messages = [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }];
  const { content } = await ask(services, { messages }, 'one/chat-text');
  expect(content?.input[0]?.parts).toEqual([{ type: 'file', content: 'image at files.example.com' }]);
});

test('only the keys that are named have their content kept', async () => {
  const services = await servicesForTest({ LOG_CONTENT: 'support, intern' });
  for (const [name, isKept] of [
    ['support', true],
    ['sales', false],
  ] as const) {
    const made = await fetch(`${services.gatewayUrl}/api/keys`, {
      method: 'POST',
      body: JSON.stringify({ name }),
    });
    const { secret } = (await made.json()) as { secret: string };
    const answer = await services.chat(userTurn('sandbox', question), {
      authorization: `Bearer ${secret}`,
      'x-request-id': name,
    });
    expect(answer.status).toBe(200);
    await answer.text();
    const { content } = (await (await fetch(`${services.gatewayUrl}/api/turns/${name}`)).json()) as Turn;
    expect(content !== null).toBe(isKept);
  }
  expect(linesWithContent(services)).toHaveLength(1);
});

test('a pattern that does not come to an end with a text holds no turn up, and no content is kept from then on', async () => {
  const services = await servicesForTest({ LOG_CONTENT: 'on', LOG_CONTENT_REDACT: '(\\w+ ?)+!' });
  for (const words of ['word '.repeat(60), 'Hi']) {
    const answered = await services.chat(userTurn('sandbox', words));
    expect(answered.status).toBe(200);
    await answered.text();
  }
  const lines = linesWithContent(services);
  expect(lines).toHaveLength(2);
  for (const line of lines) {
    const { input } = JSON.parse(line);
    expect(input[0].parts).toEqual([{ type: 'text', content: '[redacted]' }]);
  }
  expect(services.log()).toContain('LOG_CONTENT_REDACT took too long');
});

test('a pattern that is none, and on beside names, are faults of the settings', async () => {
  for (const wrong of [
    { LOG_CONTENT_REDACT: '(' },
    { LOG_CONTENT: 'on, support' },
    { LOG_CONTENT: 'support, no' },
  ]) {
    await expect(servicesForTest(wrong)).rejects.toThrow(/LOG_CONTENT/);
  }
});
