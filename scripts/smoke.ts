/**
 * Checks a running pool and gateway from the outside, a line a check; exit code 1 at the first failure.
 * Finds them through the same settings as the services. SMOKE_MODEL names the model, and CLIENT_KEY is shown where the gateway
 * takes only the keys that its operator has made; with real accounts in the pool the two short chat turns are real ones.
 */
import { createParser } from 'eventsource-parser';
import { Agent, request } from 'undici';
import { z } from 'zod';
import { loadConfig } from '../src/config.ts';
import { readEnvironment } from '../src/environment.ts';
import { AccountPoolClient } from '../src/pool-api/client.ts';
import { healthAnswer } from '../src/pool-api/schema.ts';

const environment = readEnvironment();
const config = loadConfig(environment);
const gatewayUrl = urlOf(config.gateway);
const dispatcher = new Agent({ headersTimeout: 60_000, bodyTimeout: 60_000 });
const gatewayHeaders = {
  'content-type': 'application/json',
  authorization: `Bearer ${environment['CLIENT_KEY'] || (config.gateway.apiKeys[0] ?? 'none-needed')}`,
};

const modelList = z.object({ data: z.array(z.object({ id: z.string() })).min(1, 'no model is listed') });
const completion = z.object({
  choices: z
    .array(z.object({ message: z.object({ content: z.string().min(1) }), finish_reason: z.string() }))
    .min(1),
});
const chunk = z.object({
  choices: z.array(
    z.object({ delta: z.object({ content: z.string().nullish() }), finish_reason: z.string().nullish() }),
  ),
});

const pool = new AccountPoolClient({
  baseUrl: config.poolUrl,
  apiKey: config.pool.apiKey ?? config.pool.adminKey,
  retries: 0,
});
let model = '';
let failed = false;

async function check(name: string, run: () => Promise<string>): Promise<void> {
  if (failed) return;
  try {
    console.log(`ok    ${name}: ${await run()}`);
  } catch (error) {
    failed = true;
    process.exitCode = 1;
    const reason = error instanceof Error ? error.message : String(error);
    console.error(`FAIL  ${name}: ${reason}`);
  }
}

async function call(url: string, body?: unknown): Promise<string> {
  const answer = await request(url, {
    dispatcher,
    method: body === undefined ? 'GET' : 'POST',
    headers: gatewayHeaders,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.body.text();
  if (answer.statusCode === 200) return text;
  throw new Error(`${url} answered ${answer.statusCode}: ${text.slice(0, 500)}`);
}

async function checkHealth(url: string): Promise<string> {
  const health = healthAnswer.parse(JSON.parse(await call(`${url}/health`)));
  if (health.status !== 'ok') throw new Error(`${url} says it is ${health.status}`);
  return `${url} runs version ${health.version}${health.sandbox ? ', answers come from the sandbox' : ''}`;
}

await check('health of the gateway', () => checkHealth(gatewayUrl));
if (config.usePoolService) {
  await check('health of the pool', () => checkHealth(config.poolUrl));
  await check('status of the pool', async () => {
    const status = await pool.status();
    return `${status.health}, ${status.pool_stats.available} of ${status.pool_stats.total} accounts available`;
  });
  await check('an account borrowed, reported on and given back', async () => {
    const session = await pool.allocate({ exclusive: false, wait_ms: 10_000 });
    const [account] = session.accounts;
    if (account === undefined) throw new Error('the session holds no account');
    const { id, fence, token_version } = account;
    const { results } = await session.report([{ account_id: id, fence, token_version, outcome: 'success' }]);
    if (results[0]?.result !== 'applied') throw new Error(`the report was ${results[0]?.result ?? 'lost'}`);
    const { released } = await session.release();
    if (released !== 1) throw new Error(`${released} leases were given back instead of 1`);
    return `account ${id} of ${account.provider}`;
  });
} else {
  console.log('skip  the pool: it runs inside the gateway');
}
await check('the list of models', async () => {
  const ids = modelList.parse(JSON.parse(await call(`${gatewayUrl}/v1/models`))).data.map(({ id }) => id);
  model = environment['SMOKE_MODEL'] ?? (ids.includes('sandbox') ? 'sandbox' : (ids[0] ?? ''));
  return `${ids.length} models, taking ${model}`;
});
await check('a chat answer', async () => {
  const answer = completion.parse(
    JSON.parse(await call(`${gatewayUrl}/v1/chat/completions`, chatRequest(false))),
  );
  const [choice] = answer.choices;
  return `${JSON.stringify(choice?.message.content.slice(0, 60))}, finished by ${choice?.finish_reason}`;
});
await check('a streamed chat answer', async () => {
  const messages = readMessages(await call(`${gatewayUrl}/v1/chat/completions`, chatRequest(true)));
  if (messages.at(-1) !== '[DONE]') throw new Error(`it ends with ${messages.at(-1)} instead of [DONE]`);
  const choices = messages
    .slice(0, -1)
    .map((message) => chunk.parse(JSON.parse(message)).choices[0])
    .filter((choice) => choice !== undefined);
  const content = choices.map((choice) => choice.delta.content ?? '').join('');
  const finishes = choices.map((choice) => choice.finish_reason).filter(Boolean);
  if (content === '') throw new Error('it has no text');
  if (finishes.length !== 1) throw new Error(`it has ${finishes.length} finish reasons instead of 1`);
  return `${messages.length} messages, finished by ${finishes[0]}, then [DONE]`;
});
await pool.close().catch(() => undefined);
await dispatcher.close();

function chatRequest(stream: boolean): unknown {
  return { model, stream, messages: [{ role: 'user', content: 'Say hello in one short sentence.' }] };
}

function readMessages(text: string): string[] {
  const messages: string[] = [];
  const parser = createParser({ onEvent: (message) => messages.push(message.data) });
  parser.feed(text);
  return messages;
}

/** Where a service on this machine answers, whatever it is bound to. */
function urlOf({ host, port }: { readonly host: string; readonly port: number }): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}
