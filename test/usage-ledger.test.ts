import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { WebSocket } from 'ws';
import { shownTurn } from '../src/core/shown-turn.ts';
import { type UsageReport, usageMinutes, usageReport, usageTurns } from '../src/core/shown-usage.ts';
import { inOneMinute } from '../src/core/testing/one-minute.ts';
import {
  eventually,
  servicesForTest,
  startTestServices,
  type TestServices,
  userTurn,
} from './support/services.ts';

async function usageOf(
  services: TestServices,
  query = '',
  headers: Record<string, string> = {},
): Promise<UsageReport> {
  const answer = await fetch(`${services.gatewayUrl}/api/usage${query}`, { headers });
  if (answer.status !== 200) throw new Error(await answer.text());
  return usageReport.parse(await answer.json());
}

async function turnsOf(services: TestServices, query = '') {
  const answer = await fetch(`${services.gatewayUrl}/api/usage/turns${query}`);
  if (answer.status !== 200) throw new Error(await answer.text());
  return usageTurns.parse(await answer.json());
}

/** Once so many turns are written. */
async function written(services: TestServices, count: number) {
  return eventually(`${count} turns are in the ledger`, async () => {
    const { turns } = await turnsOf(services);
    return turns.length >= count && turns;
  });
}

it('has one row for each turn, whatever carried it, and its sums agree', async () => {
  const services = await servicesForTest({ MAX_CHOICES: '2' });
  await services.addAccount('wk-1.good');
  const client = services.openai();
  await client.chat.completions.create(userTurn('sandbox', 'whole'));
  for await (const _ of await client.chat.completions.create({
    ...userTurn('sandbox', 'streamed'),
    stream: true,
  }));
  await client.chat.completions.create(userTurn('sandbox', 'twice', { n: 2 }));
  const { id } = await client.responses.create({ model: 'sandbox', input: 'background', background: true });
  await eventually(
    'it is completed',
    async () => (await client.responses.retrieve(id)).status === 'completed',
  );
  await fetch(`${services.gatewayUrl}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' },
    body: JSON.stringify({ ...userTurn('sandbox', 'a message'), max_tokens: 100 }),
  });
  const socket = new WebSocket(`${services.gatewayUrl.replace('http', 'ws')}/v1/responses`);
  const isDone = new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('message', (data) => {
      if (String(data).includes('response.completed')) resolve();
    });
  });
  socket.on('open', () =>
    socket.send(JSON.stringify({ type: 'response.create', model: 'sandbox', input: 'socket' })),
  );
  await isDone;
  socket.close();

  const turns = await written(services, 7);
  expect(turns).toHaveLength(7);
  expect(
    turns.every(({ outcome, provider, account }) => outcome === 'success' && provider === 'warp' && account),
  ).toBe(true);
  expect(turns.map(({ dialect }) => dialect).sort()).toEqual([
    'chat',
    'chat',
    'chat',
    'chat',
    'messages',
    'responses',
    'responses',
  ]);
  const report = await usageOf(services, '?group=dialect,outcome');
  expect(report.total.turns).toBe(7);
  for (const name of ['input_tokens', 'output_tokens'] as const)
    expect(report.total[name]).toBe(turns.reduce((sum, turn) => sum + (turn[name] ?? 0), 0));
  expect(report.rows.map(({ dialect, outcome, turns: count }) => [dialect, outcome, count]).sort()).toEqual([
    ['chat', 'success', 4],
    ['messages', 'success', 1],
    ['responses', 'success', 2],
  ]);
  expect(report.total.first_content_p50_ms).toBeGreaterThan(0);
});

it('answers with the turn that ended just before', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good');
  let turn = 0;
  for (const [path, seen] of [
    ['/turns', '"request_id":"req-0"'],
    ['/turns?period=24h&format=csv', ',req-1,'],
    ['?period=24h', '"turns":3'],
    ['?group=model&format=csv', 'sandbox,4,'],
    ['/me', '"turns":5'],
  ] as const) {
    const id = `req-${turn++}`;
    await (await services.chat(userTurn('sandbox', 'Hello'), { 'x-request-id': id })).text();
    const answer = await fetch(`${services.gatewayUrl}/api/usage${path}`);
    expect(await answer.text()).toContain(seen);
  }
});

it('counts the turns of the last minutes without its ledger, too', async () => {
  const services = await servicesForTest({ USAGE_KEEP_DAYS: '0', STRICT_MODELS: 'true' });
  await services.addAccount('wk-1.good');
  for (const model of ['sandbox', 'sandbox', 'no-such-model'])
    await (await services.chat(userTurn(model, 'Hello'))).text();
  const answer = await fetch(`${services.gatewayUrl}/api/usage/minutes`);
  const { minutes } = usageMinutes.parse(await answer.json());
  expect(minutes).toHaveLength(30);
  const sum = (of: 'answered' | 'failed') => minutes.reduce((all, one) => all + one[of], 0);
  expect([sum('answered'), sum('failed')]).toEqual([2, 1]);
});

/** Of one client's refused requests one a second is kept. */
const nextSecond = () => delay(1_050);

it('says what is not known of costs, and counts refused turns of a known key but none without one', async () => {
  const services = await servicesForTest({
    API_KEYS: 'key-of-one-client',
    STRICT_MODELS: 'true',
    ADMIN_KEY: 'key-of-the-admin',
  });
  const admin = { authorization: 'Bearer key-of-the-admin' };
  const own = { authorization: 'Bearer key-of-one-client' };
  await services.addAccount('wk-1.good').catch(() => {});
  expect((await services.chat({ model: 'sandbox', messages: 'none' }, own)).status).toBe(400);
  const { messages } = userTurn('', 'a');
  const tooLong = `no-such-model-${'x'.repeat(10_000)}\u0000\ud800`;
  await nextSecond();
  expect((await services.chat({ model: tooLong, messages }, own)).status).toBe(400);
  const odd = 'no-such-model-\u0000\ud800\u202e\u{1f600}';
  await nextSecond();
  expect((await services.chat({ model: odd, messages }, own)).status).toBe(404);
  expect((await services.chat(userTurn('sandbox', 'a'))).status).toBe(401);
  await (await services.chat(userTurn('sandbox', 'Hello'), own)).text();
  const report = await eventually('four turns are in the ledger', async () => {
    const found = await usageOf(services, '?group=key,model,outcome', admin);
    return found.total.turns >= 4 && found;
  });
  const outcomes = report.rows.map(({ outcome, turns, unpriced_turns: unpriced }) => [
    outcome,
    turns,
    unpriced,
  ]);
  expect(outcomes.sort()).toEqual([
    ['invalid_request', 1, 0],
    ['invalid_request', 1, 0],
    ['model_not_found', 1, 0],
    ['success', 1, 0],
  ]);
  expect(Math.max(...report.rows.map(({ model = '' }) => model.length))).toBeLessThan(250);
  expect(new Set(report.rows.map(({ key }) => key)).size).toBe(1);

  expect((await fetch(`${services.gatewayUrl}/api/usage`, { headers: own })).status).toBe(401);
  const mine = await fetch(`${services.gatewayUrl}/api/usage/me?group=model`, { headers: own });
  expect(usageReport.parse(await mine.json()).total.turns).toBe(4);
  const accounts = await fetch(`${services.gatewayUrl}/api/usage/me?group=account`, { headers: own });
  expect(accounts.status).toBe(400);
});

it('keeps one refused request of a client a second, and counts those it leaves out', () =>
  inOneMinute(async () => {
    const services = await servicesForTest({ ADMIN_KEY: 'key-of-the-admin' });
    const admin = { authorization: 'Bearer key-of-the-admin' };
    const limits = { requests_per_minute: 1 };
    const body = JSON.stringify({ name: 'eager', limits });
    const made = await fetch(`${services.gatewayUrl}/api/keys`, { method: 'POST', headers: admin, body });
    const own = { authorization: `Bearer ${((await made.json()) as { secret: string }).secret}` };
    const ask = () => services.chat(userTurn('sandbox', 'Hello'), own);
    await (await ask()).text();
    const asked = 30;
    const began = performance.now();
    for (let time = 0; time < asked; time += 1) expect((await ask()).status).toBe(429);
    const most = 1 + (performance.now() - began) / 1_000;
    const counted = async (name: string) => {
      const text = await (await fetch(`${services.gatewayUrl}/metrics`, { headers: admin })).text();
      return Number(new RegExp(`^warp2api_gateway_${name} (\\d+)$`, 'm').exec(text)?.[1]);
    };
    expect(await counted('turns_limited_total{limit="requests_per_minute"}')).toBe(asked);
    const leftOut = await counted('ledger_turns_total{result="left_out"}');
    expect(leftOut).toBeGreaterThanOrEqual(asked - most);
    const found = await eventually('the turns are in the ledger', async () => {
      const { total } = await usageOf(services, '?group=key', admin);
      return total.turns > asked - leftOut && total;
    });
    expect(found).toMatchObject({ turns: 1 + asked - leftOut, errors: asked - leftOut });
  }));

it('survives a restart, and answers for a turn that is no longer in memory', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-ledger-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const environment = { DATA_DIR: folder, GATEWAY_DATABASE_URL: 'sqlite:usage.db' };
  const first = await startTestServices(environment);
  await first.addAccount('wk-1.good');
  const answer = await first.chat(userTurn('sandbox', 'Hello'), { 'x-request-id': 'req-before-the-restart' });
  const route = answer.headers.get('x-warp2api-route');
  await answer.text();
  // The turn is not written yet: an orderly stop writes it.
  await first.close();

  const second = await servicesForTest(environment);
  expect((await turnsOf(second)).turns.map(({ request_id: id }) => id)).toEqual(['req-before-the-restart']);
  const kept = await fetch(`${second.gatewayUrl}/api/turns/req-before-the-restart`);
  expect(shownTurn.parse(await kept.json())).toMatchObject({ outcome: 'success', model: 'sandbox', route });
  expect((await fetch(`${second.gatewayUrl}/api/turns/req-never-seen`)).status).toBe(404);
  expect((await usageOf(second, '?period=24h')).total.turns).toBe(1);
});

it('exports sums and turns as CSV and JSON lines, without formulas, and goes on from a cursor', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good');
  const formula = '=HYPERLINK("http://evil.test","a")';
  await services.chat({ ...userTurn(formula, 'a') });
  for (let turn = 0; turn < 4; turn += 1)
    await (await services.chat(userTurn('sandbox', `turn ${turn}`))).text();
  const turns = await written(services, 5);

  const get = async (path: string) => {
    const answer = await fetch(`${services.gatewayUrl}${path}`);
    return {
      type: answer.headers.get('content-type'),
      name: answer.headers.get('content-disposition'),
      text: await answer.text(),
    };
  };
  const csv = await get('/api/usage/turns?format=csv');
  expect(csv.type).toBe('text/csv; charset=utf-8');
  expect(csv.name).toBe('attachment; filename="turns.csv"');
  const [head, ...lines] = csv.text.trimEnd().split('\r\n');
  expect(head).toMatch(/^at,request_id,key,key_name,model,/);
  expect(lines).toHaveLength(5);
  expect(csv.text).toContain(`"'=HYPERLINK(""http://evil.test"",""a"")"`);
  expect(csv.text).not.toMatch(/(^|,)"?=/m);

  const rest = await get(`/api/usage/turns?format=jsonl&before=${turns[1]?.cursor}`);
  const ids = rest.text
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { request_id: string }).request_id);
  expect(ids).toEqual(turns.slice(2).map(({ request_id: id }) => id));
  const page = await turnsOf(services, `?limit=2&before=${turns[0]?.cursor}&outcome=success`);
  expect(page.turns).toHaveLength(2);
  expect(page.next).toBe(page.turns[1]?.cursor);

  const sums = await get('/api/usage?group=model,day&format=csv');
  expect(sums.text.split('\r\n')[0]).toMatch(/^model,start,turns,errors,cancelled,input_tokens,/);
  expect(sums.text).toContain(`"'=HYPERLINK`);
  const report = await usageOf(services, '?group=hour&compare=before&period=7d&tz=Asia/Shanghai');
  expect(report.rows).toHaveLength(1);
  expect(report.before?.total.turns).toBe(0);
});

it('sums up by the owners of keys, and gives them in files', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-1.good');
  for (const [name, owner] of [
    ['ci', 'build team'],
    ['site', 'web team'],
    ['shop', 'web team'],
  ]) {
    const body = JSON.stringify({ name, owner });
    const made = await fetch(`${services.gatewayUrl}/api/keys`, { method: 'POST', body });
    const { secret } = (await made.json()) as { secret: string };
    const own = { authorization: `Bearer ${secret}` };
    await (await services.chat(userTurn('sandbox', 'Hello'), own)).text();
    if (name !== 'shop') continue;
    const mine = await fetch(`${services.gatewayUrl}/api/usage/me?group=owner`, { headers: own });
    expect(usageReport.parse(await mine.json()).rows).toMatchObject([{ owner: 'web team', turns: 1 }]);
  }
  const { rows } = await usageOf(services, '?group=owner');
  expect(rows.map(({ owner, turns }) => [owner, turns]).sort()).toEqual([
    ['build team', 1],
    ['web team', 2],
  ]);
  expect((await turnsOf(services, '?owner=web%20team')).turns.map(({ key_name: key }) => key)).toEqual([
    'shop',
    'site',
  ]);
  const get = async (path: string) => (await fetch(`${services.gatewayUrl}/api/usage${path}`)).text();
  expect(await get('?group=owner,model&format=csv')).toMatch(/^owner,model,turns,.*\r\nweb team,sandbox,2,/);
  expect(await get('/turns?format=csv')).toMatch(/,cursor,owner\r\n.*,web team\r\n/);
});

let services: TestServices | undefined;
afterAll(() => services?.close());
it.each([
  ['period=week', /^period: /],
  ['period=7d&from=2026-01-01', /^period: /],
  ['tz=Moon/Sea', /^tz: /],
  ['from=yesterday', /^from: /],
  ['from=2026-11-26T10:00:00', /^from: /],
  ['from=2026-02-02&to=2026-02-01', /^from: /],
  ['group=colour', /^group: must be one or several of key, owner, /],
  ['group=hour,day', /^group: /],
  ['nonsense=1', /nonsense/],
])('refuses %s by name', async (query, message) => {
  services ??= await startTestServices();
  const answer = await fetch(`${services.gatewayUrl}/api/usage?${query}`);
  expect(answer.status).toBe(400);
  expect(((await answer.json()) as { error: { message: string } }).error.message).toMatch(message);
});
