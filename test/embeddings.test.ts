import type { ServerResponse } from 'node:http';
import { GoogleGenAI } from '@google/genai';
import { expect, it } from 'vitest';
import { sendJson, type VendorRequest, withScripted } from './support/scripted-vendor.ts';
import { eventually, type TestServices } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

const google = ({ gatewayUrl: baseUrl }: TestServices) =>
  new GoogleGenAI({ apiKey: 'any', httpOptions: { baseUrl, retryOptions: { attempts: 1 } } });

async function withGemini(keys: readonly string[] = ['AIza-one-1234567890']) {
  const { vendors, ...services } = await withUpstreams({ gemini: { protocol: 'gemini', keys } }, '');
  return { ...services, vendor: vendors.gemini };
}

/** What the simulated vendor makes of a text. */
const vectorOf = (text: string, size = 4) =>
  Array.from({ length: size }, (_, index) =>
    index === 0 ? text.length : (text.charCodeAt(index - 1) || 0) / 256,
  );

function post({ gatewayUrl }: TestServices, path: string, body: unknown) {
  return fetch(gatewayUrl + path, { method: 'POST', body: JSON.stringify(body) });
}

async function countedInput(services: TestServices) {
  const { accounts } = (await services.pool('/api/accounts')) as unknown as {
    accounts: { usage: { input_tokens: number } }[];
  };
  return accounts[0]?.usage.input_tokens;
}

it.each(['gemini-embedding', 'gemini/gemini-embedding'])(
  "Google's SDK has embeddings of Gemini by the name %s",
  async (model) => {
    const setup = await withGemini();
    const config = { taskType: 'RETRIEVAL_QUERY', outputDimensionality: 3 };
    const made = await google(setup).models.embedContent({ model, contents: ['a', 'Grüße'], config });
    expect(made.embeddings).toEqual([{ values: vectorOf('a', 3) }, { values: vectorOf('Grüße', 3) }]);
    await eventually('the usage is counted', async () => (await countedInput(setup)) === 3);
    expect(setup.log()).toMatch(/"dialect":"batch_embed_contents".*"outcome":"success"/);
  },
);

it('a request for one embedding goes up as it came but for the name of the model', async () => {
  const setup = await withGemini();
  const content = { parts: [{ text: 'Hi' }] };
  for (const given of [{ content }, { model: 'models/gemini/gemini-embedding', content }]) {
    const answer = await post(setup, '/v1beta/models/gemini/gemini-embedding:embedContent', given);
    expect(await answer.json()).toMatchObject({ embedding: { values: vectorOf('Hi') } });
    expect(answer.headers.get('x-warp2api-model')).toBe('gemini/gemini-embedding');
    const named = { ...given, ...('model' in given && { model: 'models/gemini-embedding' }) };
    expect(JSON.parse(setup.vendor.others.at(-1)?.text ?? '')).toEqual(named);
  }
});

it("what Google refuses comes in Google's own words", async () => {
  const setup = await withGemini();
  const refused = await post(setup, '/v1beta/models/gemini-embedding:batchEmbedContents', {
    requests: [{ content: { parts: [{ text: 'a' }] }, taskType: 'ODD' }],
  });
  expect([refused.status, await refused.json()]).toMatchObject([
    400,
    { error: { status: 'INVALID_ARGUMENT', message: expect.stringContaining('task_type') } },
  ]);
  const unreadable = await fetch(`${setup.gatewayUrl}/v1beta/models/gemini-embedding:embedContent`, {
    method: 'POST',
    body: '[]',
  });
  expect([unreadable.status, await unreadable.json()]).toMatchObject([
    400,
    { error: { status: 'INVALID_ARGUMENT' } },
  ]);
});

it("OpenAI's SDK has embeddings of Gemini", async () => {
  const setup = await withGemini();
  const client = setup.openai();
  const model = 'gemini-embedding';
  const made = await client.embeddings.create({ model, input: ['a', 'bcdef'], dimensions: 3 });
  expect(made).toMatchObject({ object: 'list', model, usage: { prompt_tokens: 3, total_tokens: 3 } });
  expect(made.data.map(({ embedding }) => embedding)).toEqual([vectorOf('a', 3), vectorOf('bcdef', 3)]);
  const plain = await client.embeddings.create({ model, input: 'Hi', encoding_format: 'float' });
  expect(plain.data).toEqual([{ object: 'embedding', index: 0, embedding: vectorOf('Hi') }]);
  await expect(client.embeddings.create({ model, input: [1, 2] })).rejects.toMatchObject({
    status: 400,
    param: 'input',
  });
  const wrong = client.embeddings.create({ model, input: 'a', dimensions: 0 });
  await expect(wrong).rejects.toMatchObject({ status: 400, type: 'invalid_request_error' });
});

function openaiAnswer({ json }: VendorRequest, response: ServerResponse): void {
  const inputs = [json['input']].flat();
  // Neither their order nor their form is certain.
  const data = inputs.map((text, index) => {
    const vector = vectorOf(String(text));
    const base64 = Buffer.from(Float32Array.from(vector).buffer).toString('base64');
    return { object: 'embedding', index, embedding: index === 1 ? base64 : vector };
  });
  const usage = { prompt_tokens: 8, total_tokens: 8 };
  if (json['model'] === 'm-400')
    sendJson(response, { error: { message: 'Too many inputs.', param: 'input', code: null } }, 400);
  else sendJson(response, { object: 'list', data: data.toReversed(), model: 'emb-2026', usage });
}

it("Google's SDK has embeddings of a server of OpenAI's API", async () => {
  const services = await withScripted(openaiAnswer, { models: ['m', 'm-400'] });
  const config = { outputDimensionality: 4 };
  const made = await google(services).models.embedContent({ model: 'm', contents: ['a', 'bc'], config });
  expect(made.embeddings).toEqual([{ values: vectorOf('a') }, { values: vectorOf('bc') }]);
  expect(services.requests.map(({ path, json }) => [path, json])).toEqual([
    ['/v1/embeddings', { model: 'm', input: ['a', 'bc'], encoding_format: 'float', dimensions: 4 }],
  ]);
  const content = { parts: [{ text: 'a' }, { text: 'b' }] };
  const one = await post(services, '/v1beta/models/local/m:embedContent', { content });
  expect(await one.json()).toEqual({
    embedding: { values: vectorOf('ab') },
    usageMetadata: { promptTokenCount: 8 },
  });
  const image = { parts: [{ inlineData: { mimeType: 'image/png', data: 'AA==' } }] };
  for (const [model, given] of [
    ['m', image],
    ['m-400', content],
  ]) {
    const refused = await post(services, `/v1beta/models/${model}:embedContent`, { content: given });
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { error: { code: 400, status: 'INVALID_ARGUMENT' } },
    ]);
  }
});

it('says which providers have embeddings where the one that is meant has none', async () => {
  const services = await withScripted(openaiAnswer);
  await services.addAccount('wk-1');
  const answer = await post(services, '/v1beta/models/warp/auto:embedContent', { content: { parts: [] } });
  expect([answer.status, await answer.json()]).toMatchObject([
    404,
    {
      error: {
        status: 'NOT_FOUND',
        message:
          'The provider that "warp/auto" leads to has no embeddings. Providers that have them here: local; name the model as "local/MODEL".',
      },
    },
  ]);
});

it('lists what embeds, and says by which calls', async () => {
  const setup = await withGemini();
  const client = google(setup);
  expect(await client.models.get({ model: 'gemini-embedding' })).toMatchObject({
    supportedActions: ['embedContent', 'batchEmbedContents'],
  });
});

it('a repeat with the same Idempotency-Key gets the same embeddings, and asks for them once', async () => {
  const setup = await withGemini();
  const ask = async () => {
    const answer = await fetch(`${setup.gatewayUrl}/v1beta/models/gemini-embedding:embedContent`, {
      method: 'POST',
      headers: { 'idempotency-key': 'one' },
      body: JSON.stringify({ content: { parts: [{ text: 'Grüße' }] } }),
    });
    return [answer.status, await answer.json()];
  };
  const first = await ask();
  expect(first).toMatchObject([200, { embedding: { values: vectorOf('Grüße') } }]);
  expect(await ask()).toEqual(first);
  expect(setup.vendor.others.filter(({ method }) => method === 'POST')).toHaveLength(1);
});
