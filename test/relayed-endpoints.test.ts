import type { ServerResponse } from 'node:http';
import OpenAI, { toFile } from 'openai';
import { expect, it } from 'vitest';
import { taken } from '../sandbox/vendor/taken.ts';
import { sendJson, type VendorRequest, withScripted } from './support/scripted-vendor.ts';
import { eventually, servicesForTest } from './support/services.ts';

const vectors = [0.25, -1, 3.5];
const base64 = Buffer.from(Float32Array.from(vectors).buffer).toString('base64');
/** Bytes that are no text. */
const sound = Buffer.from([0xff, 0xfb, 0x90, 0x00, 0x80, 0xc3, 0x28, 0x0a]);

function embedding({ json }: VendorRequest) {
  const given = [json['input']].flat();
  const value = json['encoding_format'] === 'base64' ? base64 : vectors;
  return {
    object: 'list',
    data: given.map((_, index) => ({ object: 'embedding', index, embedding: value })),
    model: 'emb-2026',
    usage: { prompt_tokens: 8, total_tokens: 8 },
  };
}

function chunkOf(text: string, finish: string | null) {
  const choices = [{ index: 0, text, logprobs: null, finish_reason: finish }];
  return `data: ${JSON.stringify({ id: 'cmpl-up', object: 'text_completion', model: 'm', choices })}\n\n`;
}

function answer(request: VendorRequest, response: ServerResponse): void {
  const { path, json, headers, text } = request;
  if (headers['authorization'] === 'Bearer sk-limited-1234567890') {
    sendJson(response, { error: { message: 'Slow down.', code: 'rate_limit_exceeded' } }, 429);
    return;
  }
  if (json['model'] === 'm-400') {
    sendJson(response, { error: { message: 'Too many inputs.', param: 'input', code: null } }, 400);
    return;
  }
  switch (path) {
    case '/v1/embeddings':
      sendJson(response, json['model'] === 'm-error' ? { error: { message: 'No.' } } : embedding(request));
      break;
    case '/v1/completions': {
      const whole = {
        id: 'cmpl-up',
        object: 'text_completion',
        choices: [{ index: 0, text: 'Hello there', finish_reason: 'stop' }],
        usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
      };
      if (json['stream'] !== true) {
        sendJson(response, whole);
        break;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(chunkOf('Hello', null));
      if (json['model'] === 'm-cut') void taken().then(() => response.end());
      else response.end(`${chunkOf(' there', 'stop')}data: [DONE]\n\n`);
      break;
    }
    case '/v1/audio/speech':
      response.writeHead(200, { 'content-type': 'audio/mpeg' });
      response.write(sound);
      void taken().then(() => {
        if (json['model'] === 'm-cut') response.destroy();
        else response.end(sound);
      });
      break;
    case '/v1/audio/transcriptions':
      if (text.includes('srt')) {
        response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
        response.end('1\n00:00 --> 00:01\nGrüße\n');
      } else
        sendJson(response, { text: 'Grüße', usage: { type: 'tokens', input_tokens: 14, output_tokens: 3 } });
      break;
    case '/v1/images/generations':
      sendJson(response, { created: 1, data: [{ b64_json: 'AAAA' }] });
      break;
    case '/v1/moderations':
      sendJson(response, { id: 'modr-1', model: json['model'], results: [{ flagged: false }] });
      break;
    case '/v1/rerank':
      sendJson(response, { results: [{ index: 1, relevance_score: 0.9 }] });
      break;
    default:
      sendJson(response, { error: { message: 'Unknown path.' } }, 404);
  }
}

const models = ['m', 'm-400', 'm-cut', 'm-error', 'omni-moderation-latest'];
const setup = (keys?: readonly string[]) => withScripted(answer, { models, ...(keys && { keys }) });

it('relays embeddings, byte for byte, in the form the SDK asks for them', async () => {
  const services = await setup();
  const client = services.openai();
  const made = await client.embeddings.create({ model: 'local/m', input: ['a', 'b'] });
  expect(made.data.map((one) => one.embedding)).toEqual([vectors, vectors]);
  const { data, response } = await client.embeddings
    .create({ model: 'm', input: 'a', encoding_format: 'float' })
    .withResponse();
  expect(data.model).toBe('emb-2026');
  expect(response.headers.get('x-warp2api-model')).toBe('local/m');
  const body = '{"input":"\\u0041", "brand_new": 1e2 , "model": "local/m" }';
  const raw = await fetch(`${services.gatewayUrl}/v1/embeddings`, { method: 'POST', body });
  expect(await raw.text()).toBe(JSON.stringify(embedding({ json: { input: 'A' } } as never)));
  expect(services.requests.map(({ path, text }) => [path, JSON.parse(text)])).toEqual([
    ['/v1/embeddings', { model: 'm', input: ['a', 'b'], encoding_format: 'base64' }],
    ['/v1/embeddings', { model: 'm', input: 'a', encoding_format: 'float' }],
    ['/v1/embeddings', { input: 'A', brand_new: 100, model: 'm' }],
  ]);
  expect(services.requests.at(-1)?.text).toBe(body.replace('local/m', 'm'));
  const failed = client.embeddings.create({ model: 'm-error', input: 'a' });
  await expect(failed).rejects.toThrow(OpenAI.InternalServerError);
  await eventually('the usage is counted', async () => {
    const { accounts } = (await services.pool('/api/accounts')) as unknown as {
      accounts: { usage: { input_tokens: number } }[];
    };
    return accounts[0]?.usage.input_tokens === 24;
  });
  expect(services.log()).toMatch(/"dialect":"embeddings".*"outcome":"success"/);
});

it('relays completions, and ends a stream that breaks off with an error', async () => {
  const services = await setup();
  const client = services.openai();
  const whole = await client.completions.create({ model: 'm', prompt: 'Say hello', n: 1 });
  expect([whole.id, whole.choices[0]?.text]).toEqual(['cmpl-up', 'Hello there']);
  let text = '';
  for await (const chunk of await client.completions.create({ model: 'm', prompt: 'Say', stream: true })) {
    text += chunk.choices[0]?.text;
  }
  expect(text).toBe('Hello there');
  const cut = async () => {
    for await (const _ of await client.completions.create({ model: 'm-cut', prompt: 'Say', stream: true }));
  };
  await expect(cut()).rejects.toThrow(/end mark/);
});

it('passes sound on as it comes, and breaks the answer off where the upstream does', async () => {
  const services = await setup();
  const client = services.openai();
  const speech = (model: string) => client.audio.speech.create({ model, voice: 'alloy', input: 'Hi' });
  const made = await speech('m');
  expect(made.headers.get('content-type')).toBe('audio/mpeg');
  expect(Buffer.from(await made.arrayBuffer())).toEqual(Buffer.concat([sound, sound]));
  const broken = await speech('m-cut');
  await expect(broken.arrayBuffer()).rejects.toThrow();
});

it('passes a recording on as the form it came in, with another name for the model', async () => {
  const services = await setup();
  const client = services.openai();
  const recording = Buffer.concat([sound, Buffer.alloc(3_000_000, 0x2d), Buffer.from('\r\n--not-the-end')]);
  const file = () => toFile(recording, 'talk.mp3', { type: 'audio/mpeg' });
  const heard = await client.audio.transcriptions.create({ model: 'local/m', file: await file() });
  expect(heard.text).toBe('Grüße');
  const srt = await client.audio.transcriptions.create({
    model: 'local/m',
    file: await file(),
    response_format: 'srt',
  });
  expect(srt).toBe('1\n00:00 --> 00:01\nGrüße\n');
  const [sent] = services.requests;
  expect(sent?.headers['content-type']).toMatch(/^multipart\/form-data; ?boundary=/);
  const form = await new Response(new Uint8Array(sent?.bytes ?? []), {
    headers: { 'content-type': String(sent?.headers['content-type']) },
  }).formData();
  expect(form.get('model')).toBe('m');
  const received = form.get('file') as File;
  expect(received.name).toBe('talk.mp3');
  expect(Buffer.from(await received.arrayBuffer()).equals(recording)).toBe(true);
  const noForm = await fetch(`${services.gatewayUrl}/v1/audio/transcriptions`, {
    method: 'POST',
    body: '{}',
  });
  expect([noForm.status, await noForm.json()]).toMatchObject([
    400,
    { error: { message: expect.stringContaining('multipart/form-data') } },
  ]);
});

it('relays images, moderations and reranking', async () => {
  const services = await setup();
  const client = services.openai();
  const image = await client.images.generate({ model: 'm', prompt: 'A cat' });
  expect(image.data?.[0]?.b64_json).toBe('AAAA');
  // The vendor's own model, where the request names none.
  expect((await client.moderations.create({ input: 'Hi' })).model).toBe('omni-moderation-latest');
  const unnamed = { input: 'Hi', model: null as unknown as string };
  expect((await client.moderations.create(unnamed)).model).toBe('omni-moderation-latest');
  const ranked = await fetch(`${services.gatewayUrl}/v1/rerank`, {
    method: 'POST',
    body: JSON.stringify({ model: 'm', query: 'q', documents: ['a', 'b'] }),
  });
  expect(await ranked.json()).toEqual({ results: [{ index: 1, relevance_score: 0.9 }] });
});

it('goes to another account before the first byte, and shows what the vendor refuses in its own words', async () => {
  const services = await setup(['sk-limited-1234567890']);
  await services.pool('/api/accounts', { provider: 'local', api_key: 'sk-one-1234567890', tier: 1 });
  const client = services.openai();
  const made = await client.embeddings.create({ model: 'm', input: 'a' });
  expect(made.data).toHaveLength(1);
  expect(services.requests.map(({ headers }) => headers['authorization'])).toEqual([
    'Bearer sk-limited-1234567890',
    'Bearer sk-one-1234567890',
  ]);
  const refused = client.embeddings.create({ model: 'm-400', input: 'a' });
  await expect(refused).rejects.toMatchObject({
    status: 400,
    param: 'input',
    error: { message: 'Too many inputs.' },
  });
});

it('says which providers have an endpoint where the one that is meant has not', async () => {
  const services = await setup();
  await services.addAccount('wk-1');
  const ask = (model: unknown) =>
    fetch(`${services.gatewayUrl}/v1/embeddings`, {
      method: 'POST',
      body: JSON.stringify({ model, input: 'a' }),
    });
  const elsewhere = await ask('warp/auto');
  expect([elsewhere.status, await elsewhere.json()]).toMatchObject([
    404,
    {
      error: {
        param: 'model',
        message:
          'The provider that "warp/auto" leads to has no /v1/embeddings. Providers that have it here: local; name the model as "local/MODEL".',
      },
    },
  ]);
  expect((await ask(undefined)).status).toBe(400);
});

it('has no endpoint, whatever is asked of it, where no provider with an account has it', async () => {
  const { gatewayUrl } = await servicesForTest();
  for (const body of ['{}', '{"model": "auto", "prompt": "Hi"}']) {
    const answer = await fetch(`${gatewayUrl}/v1/completions`, { method: 'POST', body });
    expect([answer.status, await answer.json()]).toMatchObject([
      404,
      {
        error: { code: 'model_not_found', message: expect.stringContaining('Add an account of a provider') },
      },
    ]);
  }
});
