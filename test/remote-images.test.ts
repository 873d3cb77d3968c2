import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Anthropic from '@anthropic-ai/sdk';
import type OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { servicesForTest, startTestServices, type TestServices } from './support/services.ts';

const pixel = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
let fetches = 0;
const pictures = createServer((request, response) => {
  fetches += 1;
  response.writeHead(request.url === '/gone.png' ? 404 : 200, { 'content-type': 'image/png' }).end(pixel);
});
let host: string;
let services: TestServices;

beforeAll(async () => {
  await new Promise<void>((resolve) => pictures.listen(0, '127.0.0.1', resolve));
  host = `127.0.0.1:${(pictures.address() as AddressInfo).port}`;
  services = await startTestServices({ FETCH_IMAGES: 'yes', FETCH_IMAGES_ALLOW: host, MAX_CHOICES: '3' });
  await services.addAccount('wk-1.good');
});
afterAll(async () => {
  await services.close();
  pictures.close();
});

const chatMessage = (url: string): OpenAI.ChatCompletionMessageParam => ({
  role: 'user',
  content: [
    { type: 'text', text: 'Look' },
    { type: 'image_url', image_url: { url } },
  ],
});

test('an image by address reaches the upstream from all three dialects', async () => {
  const url = `http://${host}/a.png`;
  const openai = services.openai();
  await openai.chat.completions.create({ model: 'sandbox', messages: [chatMessage(url)] });
  expect(services.upstream.turns.at(-1)?.imageCount).toBe(1);
  await openai.responses.create({
    model: 'sandbox',
    input: [{ role: 'user', content: [{ type: 'input_image', image_url: url, detail: 'auto' }] }],
  });
  expect(services.upstream.turns.at(-1)?.imageCount).toBe(1);
  const anthropic = new Anthropic({ baseURL: services.gatewayUrl, apiKey: 'any', maxRetries: 0 });
  await anthropic.messages.create({
    model: 'sandbox',
    max_tokens: 100,
    messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url } }] }],
  });
  expect(services.upstream.turns.at(-1)?.imageCount).toBe(1);
});

test('a conversation is known again by the address, without fetching it again', async () => {
  const openai = services.openai();
  const messages = [chatMessage(`http://${host}/once.png`)];
  const first = await openai.chat.completions.create({ model: 'sandbox', messages });
  const before = fetches;
  const said = first.choices[0]?.message;
  if (!said) throw new Error('There is no answer.');
  await openai.chat.completions.create({
    model: 'sandbox',
    messages: [...messages, said, { role: 'user', content: 'And now?' }],
  });
  expect(fetches).toBe(before);
  expect(services.upstream.turns.at(-1)?.query).toBe('And now?');
});

test('the choices of one request share what is fetched', async () => {
  const before = fetches;
  const messages = [chatMessage(`http://${host}/shared.png`)];
  const asked = { model: 'sandbox', messages, n: 3 };
  const { choices } = await services.openai().chat.completions.create(asked);
  expect(choices).toHaveLength(3);
  expect(services.upstream.turns.slice(-3).map(({ imageCount }) => imageCount)).toEqual([1, 1, 1]);
  expect(fetches).toBe(before + 1);
});

test('an address without an image, or in a private network, is a 400 that names the part', async () => {
  const openai = services.openai();
  const ask = (url: string) =>
    openai.chat.completions.create({ model: 'sandbox', messages: [chatMessage(url)], stream: true });
  const refusal = { status: 400, param: 'messages.0.content.1.image_url.url' };
  await expect(ask(`http://${host}/gone.png`)).rejects.toMatchObject(refusal);
  await expect(ask('http://169.254.169.254/latest/meta-data')).rejects.toMatchObject(refusal);
  const accounts = await services.pool('/api/accounts');
  expect(JSON.stringify(accounts)).not.toContain('cooldown"');
});

test('no address is fetched unless the operator allows it', async () => {
  const closed = await servicesForTest();
  await closed.addAccount('wk-1.good');
  const before = fetches;
  const asked = closed
    .openai()
    .chat.completions.create({ model: 'sandbox', messages: [chatMessage(`http://${host}/a.png`)] });
  await expect(asked).rejects.toMatchObject({
    status: 400,
    param: 'messages.0.content.1.image_url.url',
    message: expect.stringContaining('FETCH_IMAGES=yes'),
  });
  expect(fetches).toBe(before);
});
