import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Download, Page } from 'playwright-core';
import { expect, onTestFinished, test } from 'vitest';
import type { ShownTurn } from '../src/core/shown-turn.ts';
import { openSqlite } from '../src/db/sqlite.ts';
import { SqliteDatabase } from '../src/db/sqlite-database.ts';
import { gatewayMigrations } from '../src/gateway/database/gateway-verbs.ts';
import { ledgerTurn, openUsage } from '../src/gateway/usage/testing/ledger-turns.ts';
import { exportedTurn } from '../web/src/pages/turns/export-turn.ts';
import { expectAccessible, expectFaults, openPage, snapshot, withoutBrowser } from './support/browser.ts';
import { servicesForTest, type TestServices, userTurn } from './support/services.ts';
import { type UpstreamServices, withUpstreams } from './support/upstreams.ts';

/** Services whose first provider fails, with a few turns: one that failed over, one that failed, one that was plain. */
async function servicesWithTurns(
  environment: Record<string, string> = {},
): Promise<UpstreamServices<'one' | 'two' | 'none'>> {
  const services = await withUpstreams(
    {
      one: { protocol: 'chat', keys: ['sk-one-1234567890', 'sk-limited-1234567'] },
      two: { protocol: 'chat', options: { slowMs: 700 } },
      none: { protocol: 'chat', keys: [] },
    },
    `routes:
  - model: work
    candidates:
      - { provider: none, model: chat-text }
      - { provider: one, model: chat-text-unavailable, tier: 2 }
      - { provider: two, model: chat-text-slow, tier: 3 }
`,
    environment,
  );
  const asked: [string, string, Record<string, unknown>][] = [
    ['plain', 'two/chat-text', {}],
    ['refused', 'one/chat-text-too-long', {}],
    ['moved', 'work', { stream: true }],
  ];
  for (const [id, model, more] of asked) {
    const answer = await services.chat(userTurn(model, 'Hello, who are you?', more), { 'x-request-id': id });
    await answer.text();
  }
  return services;
}

const contentOf = async (download: Download) => await text(await download.createReadStream());
const row = (page: Page, name: string) => page.locator('tbody tr').filter({ hasText: name });

test.skipIf(withoutBrowser)('turns are listed, filtered, opened and exported', async () => {
  const services = await servicesWithTurns();
  const page = await openPage(services, { path: '#/turns' });
  await row(page, 'work').waitFor();
  await expect.poll(() => page.locator('tbody tr').count()).toBe(3);
  await expectAccessible(page);
  await snapshot(page, 'turns');

  // A turn that comes while the page is looked at appears without a reload.
  await (await services.chat(userTurn('two/chat-text', 'Hello'), { 'x-request-id': 'later' })).text();
  await expect.poll(() => page.locator('tbody tr').count()).toBe(4);

  await page.getByLabel('Outcome').selectOption({ label: 'Any error' });
  await expect.poll(() => page.locator('tbody tr').count()).toBe(1);
  await expect.poll(() => page.url()).toContain('outcome=error');
  await page.getByRole('button', { name: 'Clear the filters' }).click();
  await page.getByLabel('Model').fill('chat-text-slow');
  await expect.poll(() => page.locator('tbody tr').count()).toBe(1);
  await page.getByLabel('Model').fill('no-such-model');
  expect(await page.evaluate('location.hash'), 'what is typed counts immediately').toContain(
    'model=no-such-model',
  );
  await page.getByText('No turn matches these filters').waitFor();
  await page.getByRole('button', { name: 'Clear the filters' }).first().click();

  // By keyboard.
  await page.getByRole('link', { name: 'work', exact: true }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  await expectAccessible(page);
  await snapshot(page, 'turn', { isWhole: true });
  const picture = page.locator('.timeline');
  expect(await picture.locator('.time-attempt').count()).toBeGreaterThan(1);
  expect(await picture.locator('rect.seg-failed').count()).toBeGreaterThan(0);
  expect(await picture.getByRole('img', { name: /Until the first content/ }).count()).toBe(1);
  await page.getByText('Prompts and answers are not kept.').waitFor();

  const downloading = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export for a bug report' }).click();
  const download = await downloading;
  expect(download.suggestedFilename()).toBe('turn-moved.json');
  const file = await contentOf(download);
  expect(JSON.parse(file)).toMatchObject({
    request_id: 'moved',
    attempts: [{ account_id: 'account-1' }, {}],
  });
  expect(file).not.toMatch(/acc_|sk-/);
});

test.skipIf(withoutBrowser)('an account shows what became of a turn on it, not elsewhere', async () => {
  const services = await servicesWithTurns();
  const { attempts } = (await (await fetch(`${services.gatewayUrl}/api/turns/moved`)).json()) as {
    attempts: { account_id: string }[];
  };
  const page = await openPage(services, { path: `#/accounts/${attempts[0]?.account_id}` });
  const line = page.getByRole('dialog').getByRole('listitem').filter({ hasText: 'work' });
  await line.locator('.badge').filter({ hasText: 'model_unavailable' }).waitFor();
  await page.goto(`${services.gatewayUrl}/admin#/accounts/${attempts.at(-1)?.account_id}`);
  await line.locator('.badge').filter({ hasText: 'Success' }).waitFor();
});

test.skipIf(withoutBrowser)('the list goes on in the usage ledger', async () => {
  const services = await servicesWithTurns();
  await ledgerHas(services, 3);
  const page = await openPage(services);
  await page.route(/\/api\/turns\?/, async (route) => {
    const { turns } = (await (await route.fetch()).json()) as { turns: unknown[] };
    await route.fulfill({ json: { turns: turns.slice(0, 2), next_before: 1 } });
  });
  await page.getByRole('link', { name: 'Turns', exact: true }).click();
  const rows = page.locator('tbody tr');
  await row(page, 'work').waitFor();
  await expect.poll(() => rows.count()).toBe(2);
  await page.getByRole('button', { name: 'Show older turns' }).press('Enter');
  await page.getByText('The usage ledger has no older ones.').waitFor();
  await expect.poll(() => rows.count()).toBe(3);
  const plain = row(page, 'two/chat-text').filter({ hasNotText: 'slow' });
  expect(await plain.textContent()).toContain('Success');
  // One that comes meanwhile moves none of them out of the list.
  await (await services.chat(userTurn('two/chat-text', 'Hello'), { 'x-request-id': 'later' })).text();
  await expect.poll(() => rows.count()).toBe(4);
  await plain.last().getByRole('link').click();
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
});

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-turns-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A folder with a ledger of so many turns, the last of which ended two hours ago. */
async function folderWithLedger(count: number, modelOf = (_turn: number) => 'old'): Promise<string> {
  const folder = emptyFolder();
  const now = Date.now();
  const db = new SqliteDatabase(openSqlite(join(folder, 'usage.db'), gatewayMigrations('sqlite'), now));
  const turns = Array.from({ length: count }, (_, turn) =>
    ledgerTurn({
      at: now - 7_200_000 - 60_000 * turn,
      requestId: `old-${turn >> 1}`,
      model: modelOf(turn),
      answeredModel: null,
      provider: null,
      accountId: null,
      outcome: 'not_found',
      status: 404,
      attempts: 0,
    }),
  );
  await openUsage(db).noteTurns({ id: 'old', turns });
  await db.close();
  return folder;
}

/** The ledger is written a moment after a turn: until it has so many of this gateway. */
async function ledgerHas(services: TestServices, count: number): Promise<void> {
  const written = new RegExp(`^warp2api_gateway_ledger_turns_total\\{.*result="written".*\\} ${count}$`, 'm');
  await expect.poll(async () => (await fetch(`${services.gatewayUrl}/metrics`)).text()).toMatch(written);
}

/** How many turns there are once all older ones are loaded; a row that is there twice fails. */
async function countAll(page: Page): Promise<number> {
  const older = page.getByRole('button', { name: 'Show older turns' });
  const end = page.getByText('The usage ledger has no older ones.');
  for (;;) {
    await older.or(end).waitFor();
    if (await end.isVisible()) return rowCount(page);
    // By key: a button that moves as rows come in can be missed by a click at its place.
    await older.press('Enter');
    await page.locator('button[aria-busy="true"]').waitFor({ state: 'hidden' });
    expect(await page.getByRole('alert').allInnerTexts()).toEqual([]);
  }
}

/** An empty list is no table. */
async function rowCount(page: Page): Promise<number> {
  const table = page.locator('table');
  if ((await table.count()) === 0) return 0;
  return Number(await table.getAttribute('aria-rowcount')) - 1;
}

test.skipIf(withoutBrowser)('the list has each turn of the ledger once, of any gateway', async () => {
  const services = await servicesForTest({ DATA_DIR: await folderWithLedger(450) });
  for (let turn = 0; turn < 3; turn += 1)
    await (await services.chat(userTurn('auto', 'Hello'), { 'x-request-id': 'same' })).text();
  await ledgerHas(services, 3);
  const page = await openPage(services);
  // The ledger has turns of other gateways as well, later than what this one has in its memory.
  const at = new Date(Date.now() - 3_600_000).toISOString();
  await page.route(/\/api\/turns\?/, async (route) => {
    const { turns } = (await (await route.fetch()).json()) as { turns: object[] };
    await route.fulfill({ json: { turns: [{ ...turns[0], request_id: 'early', at }] } });
  });
  await page.getByRole('link', { name: 'Turns', exact: true }).click();
  await row(page, 'auto').waitFor();
  expect(await countAll(page)).toBe(1 + 3 + 450);
  await page.unrouteAll({ behavior: 'wait' });
});

test.skipIf(withoutBrowser)('3,000 turns are listed, sorted to the first of them', async () => {
  const services = await servicesForTest({ DATA_DIR: await folderWithLedger(3_000) });
  const page = await openPage(services, { path: '#/turns' });
  expect(await countAll(page)).toBe(3_000);
  await page.locator('th').getByRole('button', { name: 'Time' }).dblclick();
  await expect.poll(() => page.locator('th').first().getAttribute('aria-sort')).toBe('ascending');
  const first = page.locator('tbody tr').first().getByRole('link');
  await expect.poll(() => first.getAttribute('href')).toContain('/turns/old-1499');
});

test.skipIf(withoutBrowser)(
  'filters hold for older turns as well, and nothing of other filters stays',
  async () => {
    const isRare = (turn: number) => turn % 30 === 29;
    const folder = await folderWithLedger(600, (turn) => (isRare(turn) ? 'rare' : 'old'));
    const services = await servicesForTest({ DATA_DIR: folder });
    await (await services.chat(userTurn('auto', 'Hello'), { 'x-request-id': 'new' })).text();
    const page = await openPage(services, { path: '#/turns' });
    await row(page, 'auto').waitFor();
    expect(await countAll(page)).toBe(601);
    await page.getByLabel('Model').fill('rare');
    await page.getByText('No turn matches these filters').waitFor();
    expect(await countAll(page)).toBe(20);
    expect(await row(page, 'old').count()).toBe(0);
    await page.getByLabel('Outcome').selectOption({ label: 'Success' });
    await page.getByText('No turn matches these filters').waitFor();
    await page.getByRole('button', { name: 'Show older turns' }).click();
    await page.getByRole('button', { name: 'Show older turns' }).waitFor({ state: 'detached' });
    expect(await rowCount(page)).toBe(0);
    await page.getByLabel('Model').fill('');
    await row(page, 'auto').waitFor();
    expect(await countAll(page)).toBe(1);
    // The address has them: another window begins with the same.
    await page.getByLabel('Outcome').selectOption({ label: 'Any error' });
    await page.getByLabel('Model').fill('rare');
    await page.reload();
    await page.getByText('No turn matches these filters').waitFor();
    expect(await countAll(page)).toBe(20);
  },
);

test.skipIf(withoutBrowser)('a turn opened by its address is there after a restart', async () => {
  const DATA_DIR = emptyFolder();
  const before = await servicesForTest({ DATA_DIR });
  await (await before.chat(userTurn('auto', 'Hello'), { 'x-request-id': 'kept-turn' })).text();
  await before.close();
  const services = await servicesForTest({ DATA_DIR });
  const page = await openPage(services, { path: '#/turns/kept-turn' });
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  expect(await page.locator('h1').textContent()).toContain('auto');
  await page.locator('.page-head .badge').filter({ hasText: 'Success' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  // A gateway that remembers none lists those of the ledger.
  await page.getByRole('link', { name: /All turns/ }).click();
  await row(page, 'auto').getByText('no key').waitFor();
  await page.getByLabel('Client key').fill('no key');
  await page.getByRole('button', { name: 'Show older turns' }).click();
  await row(page, 'auto').waitFor();
  await page.goto(`${services.gatewayUrl}/admin#/start`);
  await page.getByText('The gateway has answered a client.').waitFor();
});

test.skipIf(withoutBrowser)('no turn is missing after a while in which the list was not loaded', async () => {
  const services = await servicesForTest({ DATA_DIR: await folderWithLedger(2) });
  const ask = async (count: number) => {
    for (let turn = 0; turn < count; turn += 1) await (await services.chat(userTurn('auto', 'Hello'))).text();
  };
  await ask(2);
  const page = await openPage(services, { path: '#/turns' });
  await row(page, 'auto').first().waitFor();
  expect(await countAll(page)).toBe(4);
  const known = await (await fetch(`${services.gatewayUrl}/api/turns`)).json();
  await page.route(/\/api\/turns\?/, (route) => route.fulfill({ json: known }));
  await ask(110);
  await ledgerHas(services, 112);
  await page.unrouteAll({ behavior: 'wait' });
  await expect.poll(() => rowCount(page)).toBeGreaterThanOrEqual(100);
  expect(await countAll(page)).toBe(114);
});

test.skipIf(withoutBrowser)('a turn that runs long is seen to end behind the latest', async () => {
  const services = await withUpstreams({ one: { protocol: 'chat', options: { slowMs: 300_000 } } });
  const running = services.chat(userTurn('one/chat-text-slow', 'Hello', { stream: true }));
  const page = await openPage(services, { path: '#/turns' });
  const badge = row(page, 'chat-text-slow').locator('.badge');
  await badge.filter({ hasText: 'Running' }).waitFor();
  expect(await countAll(page)).toBe(1);
  for (const count of [61, 121]) {
    for (let turn = 1; turn <= 60; turn += 1)
      await (await services.chat(userTurn('one/chat-text', 'Hello'))).text();
    await expect.poll(() => rowCount(page)).toBe(count);
  }
  services.vendors.one.hurry();
  await (await running).text();
  // It is the last by its name, and the table draws the first.
  await page.locator('th').getByRole('button', { name: 'Model' }).dblclick();
  await badge.filter({ hasText: 'Success' }).waitFor();
});

test.skipIf(withoutBrowser)('all turns that run are listed however many came after them', async () => {
  const keys = Array.from({ length: 8 }, (_, at) => `sk-${at}-1234567890`);
  const services = await withUpstreams({
    // Sixteen turns run on each account.
    one: { protocol: 'chat', options: { slowMs: 300_000 }, keys },
    two: { protocol: 'chat' },
  });
  const running = Array.from({ length: 120 }, () =>
    services.chat(userTurn('one/chat-text-slow', 'Hello', { stream: true })),
  );
  const list = `${services.gatewayUrl}/api/turns?outcome=running&limit=500`;
  const countRunning = async () => ((await (await fetch(list)).json()) as { turns: unknown[] }).turns.length;
  await expect.poll(countRunning).toBe(running.length);
  for (let turn = 0; turn < 105; turn += 1)
    await (await services.chat(userTurn('two/chat-text', 'Hello'))).text();
  const page = await openPage(services, { path: '#/turns' });
  await expect.poll(() => rowCount(page)).toBe(220);
  // They are the first by their name, and the table draws the first.
  await page.locator('th').getByRole('button', { name: 'Model' }).click();
  await row(page, 'chat-text-slow').first().locator('.badge').filter({ hasText: 'Running' }).waitFor();
  for (const { body } of await Promise.all(running)) await body?.cancel();
});

test.skipIf(withoutBrowser)('rows keep their place while one is pointed at', async () => {
  const services = await servicesWithTurns();
  const page = await openPage(services, { path: '#/turns' });
  const first = page.locator('tbody tr').first().getByRole('link');
  await first.waitFor();
  const pointed = await first.getAttribute('href');
  await page.evaluate(`globalThis.pointing = setInterval(() => document.querySelector('tbody')
    .dispatchEvent(new PointerEvent('pointermove', { bubbles: true })), 50)`);
  const listed = page.waitForResponse(
    async (answer) => answer.url().includes('/api/turns?') && (await answer.text()).includes('"newest"'),
  );
  await (await services.chat(userTurn('two/chat-text', 'Hello'), { 'x-request-id': 'newest' })).text();
  await listed;
  await page.evaluate('new Promise((resolve) => setTimeout(resolve, 300))');
  expect(await first.getAttribute('href')).toBe(pointed);
  await page.evaluate('clearInterval(globalThis.pointing)');
  await expect.poll(() => first.getAttribute('href')).toContain('newest');
});

test.skipIf(withoutBrowser)('what was said is shown where it is kept, and never exported', async () => {
  const services = await servicesWithTurns({ LOG_CONTENT: 'on' });
  const page = await openPage(services, { path: '#/turns/moved', theme: 'dark' });
  await page.getByText('Hello, who are you?').waitFor();
  await expectAccessible(page);
  await snapshot(page, 'turn-content-dark', { isWhole: true });
  const downloading = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export for a bug report' }).click();
  expect(await contentOf(await downloading)).not.toContain('who are you');
});

test.skipIf(withoutBrowser)('turns are shown where they change faster than they are loaded', async () => {
  const services = await servicesForTest();
  const page = await openPage(services);
  await page.route(/\/api\/turns\?/, async (route) => {
    await sleep(1_500);
    // The page may have given it up.
    await route.continue().catch(() => {});
  });
  let isBusy = true;
  const turns = (async () => {
    while (isBusy) await services.chat(userTurn('auto', 'hello'));
  })();
  await page.getByRole('link', { name: 'Turns', exact: true }).click();
  await page.locator('tbody tr').first().waitFor();
  isBusy = false;
  await turns;
  await page.unrouteAll({ behavior: 'ignoreErrors' });
});

test.skipIf(withoutBrowser)('a narrow window in Chinese and in the dark has all of it', async () => {
  const services = await servicesWithTurns();
  const page = await openPage(services, { path: '#/turns', language: 'zh', theme: 'dark', size: 'narrow' });
  await row(page, 'work').waitFor();
  await expectAccessible(page);
  await snapshot(page, 'turns-narrow', { isWhole: true });
  await page.route('**/api/turns/moved', async (route) => {
    const response = await route.fetch();
    const turn = (await response.json()) as ShownTurn;
    const attempts = turn.attempts.map((one) => ({ ...one, account_status: 'cooldown' }));
    await route.fulfill({ response, json: { ...turn, attempts } });
  });
  await page.getByRole('link', { name: 'work', exact: true }).click();
  await page.getByRole('heading', { name: '时间线' }).waitFor();
  const after = page.locator('.attempts dt', { hasText: '之后的账号状态' }).first();
  expect(await after.locator('+ dd').textContent()).toBe('冷却中');
  await expectAccessible(page);
  expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
  await snapshot(page, 'turn-narrow', { isWhole: true });
});

test.skipIf(withoutBrowser)('a turn that runs is shown as it goes on, without a reload', async () => {
  const services = await withUpstreams({ one: { protocol: 'chat', options: { slowMs: 300_000 } } });
  const page = await openPage(services, { path: '#/turns' });
  await page.getByText('No turns yet').waitFor();
  const running = services.chat(userTurn('one/chat-text-slow', 'Hello', { stream: true }));
  await page.locator('tbody .badge').filter({ hasText: 'Running' }).waitFor();
  await page.getByRole('link', { name: 'one/chat-text-slow', exact: true }).click();
  await page.locator('.page-head .badge').filter({ hasText: 'Running' }).waitFor();
  services.vendors.one.hurry();
  await page.locator('.page-head .badge').filter({ hasText: 'Success' }).waitFor();
  await (await running).text();
});

test.skipIf(withoutBrowser)('a gateway without turns and a turn that is gone say so', async () => {
  const services = await withUpstreams({ one: { protocol: 'chat' } });
  const page = await openPage(services, { path: '#/turns' });
  await page.getByText('No turns yet').waitFor();
  await snapshot(page, 'turns-empty');
  await page.goto(`${services.gatewayUrl}/admin#/turns/long-gone`);
  await page.getByText('There is no record of this turn any more').waitFor();
  await expectFaults(page, /404/);
});

test('an exported turn names no account, key or address', () => {
  const exported = exportedTurn({
    request_id: 'r',
    client_key: 'digest-of-key',
    key_name: 'alice',
    message: 'The account acc_11111111-2222 of me@example.com refused alice.',
    candidates: [
      {
        provider: 'p',
        model: 'm',
        at_ms: 0,
        skipped: [
          {
            account_id: 'acc_33333333-4444',
            reason: 'limit',
            says: 'account acc_33333333: 5h window 98 %',
            at_ms: 1,
          },
        ],
      },
    ],
    attempts: [{ account_id: 'acc_11111111-2222' }],
    content: { input: ['secret'] },
  } as never);
  expect(exported).toMatchObject({
    client_key: 'key-1',
    key_name: 'key-2',
    message: 'The account account-1 of address refused key-2.',
    candidates: [{ skipped: [{ account_id: 'account-2', says: 'account account-2: 5h window 98 %' }] }],
    attempts: [{ account_id: 'account-1' }],
  });
  expect(exported).not.toHaveProperty('content');
});
