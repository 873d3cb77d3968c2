import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { dialog, row, withLogins } from './support/accounts-page.ts';
import { openPage, withoutBrowser } from './support/browser.ts';
import { startProcess } from './support/process.ts';
import { userTurn } from './support/services.ts';

/** An operator's first day on the page, from an empty data folder, with the program itself. */

const adminKey = 'admin-key-1234567890';

const en = {
  adminKey: 'Admin key',
  accounts: 'Accounts',
  add: 'Add accounts',
  email: 'E-mail',
  submit: 'Add',
  active: 'Active',
  logIn: 'Log in',
  start: 'Start',
  approved: 'Approved: the account is in the pool.',
  more: (name: string) => `More actions: ${name}`,
  disable: 'Disable',
  disabled: 'You disabled it.',
  manyLines: 'Many lines',
  lines: 'One account a line',
  importAll: 'Import 200 lines',
  imported: '200 added, 0 already known, 0 not usable',
  keys: 'Keys',
  newKey: 'New key',
  name: 'Name',
  addBudget: 'Add a budget',
  meter: 'Of',
  requests: 'Requests',
  window: 'For',
  day: 'A day',
  limit: 'Limit',
  make: 'Make the key',
  copied: 'I have copied it',
  used: '2 of 2',
  turns: 'Turns',
  inTime: 'Timeline',
  attempt: 'Attempt 1',
  usage: 'Usage',
  export: 'Export every turn',
  signOut: 'Sign out',
};

const zh: typeof en = {
  adminKey: '管理密钥',
  accounts: '账号',
  add: '添加账号',
  email: '邮箱',
  submit: '添加',
  active: '可用',
  logIn: '登录',
  start: '开始',
  approved: '已批准，账号已加入账号池。',
  more: (name: string) => `更多操作: ${name}`,
  disable: '停用',
  disabled: '由你停用。',
  manyLines: '批量导入',
  lines: '每行一个账号',
  importAll: '导入 200 行',
  imported: '新增 200 个，已存在 0 个，不可用 0 个',
  keys: '密钥',
  newKey: '新建密钥',
  name: '名称',
  addBudget: '添加预算',
  meter: '计量',
  requests: '请求数',
  window: '周期',
  day: '每天',
  limit: '上限',
  make: '创建',
  copied: '已复制',
  used: '2 / 2',
  turns: '请求',
  inTime: '时间线',
  attempt: '第 1 次尝试',
  usage: '用量',
  export: '导出请求明细',
  signOut: '退出登录',
};

test.skipIf(withoutBrowser).each([
  { language: 'en', arrangement: 'gateway and pool apart', words: en },
  { language: 'zh', arrangement: 'the pool inside, its port closed', words: zh },
] as const)(
  'from an empty folder to a spent budget: $language, $arrangement',
  async ({ language, arrangement, words }) => {
    const folder = mkdtempSync(join(tmpdir(), 'warp2api-journey-'));
    const upstream = await startSandbox();
    onTestFinished(async () => {
      await upstream.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const { tokens } = upstream;
    tokens.set({ device: { intervalSeconds: 1 } });
    const environment = {
      ...withLogins,
      PORT: '0',
      POOL_SERVICE_PORT: '0',
      DATA_DIR: folder,
      ADMIN_KEY: adminKey,
      WARP_SERVER_URL: upstream.url,
      SHUTDOWN_SECONDS: '0',
    };
    const isApart = arrangement === 'gateway and pool apart';
    const pool = isApart ? await startProcess(['serve', 'pool'], environment, folder) : undefined;
    const gateway = await startProcess(
      isApart ? ['serve', 'gateway'] : ['serve'],
      { ...environment, ...(pool ? { POOL_SERVICE_URL: pool.url } : { USE_POOL_SERVICE: 'false' }) },
      folder,
    );
    const page = await openPage({ gatewayUrl: gateway.url, poolUrl: '' }, { language });
    await page.getByLabel(words.adminKey, { exact: true }).fill(adminKey);
    await page.keyboard.press('Enter');

    // An account by its key.
    const goTo = (name: string) => page.getByRole('navigation').getByRole('link', { name }).click();
    await goTo(words.accounts);
    const addAccounts = () => page.getByRole('button', { name: words.add }).last().click();
    await addAccounts();
    await dialog(page).getByRole('textbox', { name: 'API' }).fill('wk-first-0123456789');
    await dialog(page).getByLabel(words.email).fill('me@example.com');
    await dialog(page).getByRole('button', { name: words.submit, exact: true }).click();
    await row(page, 'me@example.com').getByText(words.active).waitFor();

    // One by a login.
    await addAccounts();
    await dialog(page).getByText(words.logIn, { exact: true }).click();
    await dialog(page).getByRole('button', { name: words.start, exact: true }).click();
    const code = (await dialog(page).locator('.login-code code').textContent()) ?? '';
    tokens.decide(code, 'approve', 'colleague@example.com');
    await dialog(page).getByText(words.approved).waitFor();
    await page.keyboard.press('Escape');
    await row(page, 'colleague@example.com').getByText(words.active).waitFor();

    await row(page, 'me@example.com')
      .getByRole('button', { name: words.more('me@example.com') })
      .click();
    await page.getByRole('menuitem', { name: words.disable }).click();
    await dialog(page).getByRole('button', { name: words.disable }).click();
    await row(page, 'me@example.com').getByText(words.disabled).waitFor();

    await addAccounts();
    await dialog(page).getByText(words.manyLines).click();
    const lines = Array.from({ length: 200 }, (_, index) => `wk-many-0123456789-${index}`);
    await dialog(page).getByLabel(words.lines).fill(lines.join('\n'));
    await dialog(page).getByRole('button', { name: words.importAll }).click();
    await dialog(page).getByText(words.imported).waitFor({ timeout: 120_000 });
    await page.keyboard.press('Escape');

    // A key that may ask twice a day.
    await goTo(words.keys);
    await page.getByRole('button', { name: words.newKey }).first().click();
    await dialog(page).getByLabel(words.name, { exact: true }).fill('alice');
    await dialog(page).getByRole('button', { name: words.addBudget }).click();
    await dialog(page).getByLabel(words.meter, { exact: true }).selectOption({ label: words.requests });
    await dialog(page).getByLabel(words.window, { exact: true }).selectOption({ label: words.day });
    await dialog(page).getByLabel(words.limit, { exact: true }).fill('2');
    await dialog(page).getByRole('button', { name: words.make }).click();
    const secret = (await page.locator('.secret-shown .snippet code').first().textContent()) ?? '';
    await dialog(page).getByRole('button', { name: words.copied }).last().click();

    const turn = async (authorization: string, id: string) => {
      const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization, 'x-request-id': id },
        body: JSON.stringify(userTurn('claude-haiku', 'Hello')),
      });
      await answer.text();
      return answer.status;
    };
    expect(await turn('Bearer sk-of-nobody', 'stranger')).toBe(401);
    expect(await turn(`Bearer ${secret}`, 'first')).toBe(200);
    expect(await turn(`Bearer ${secret}`, 'second')).toBe(200);
    expect(await turn(`Bearer ${secret}`, 'third')).toBe(429);
    await row(page, 'alice').getByText(words.used).waitFor();

    // The turns, and how one of them was decided.
    await goTo(words.turns);
    await expect.poll(() => row(page, 'alice').count()).toBe(3);
    // As a person who was sent an address sees it.
    await page.goto(`${gateway.url}/admin#/turns/second`);
    await page.getByRole('heading', { name: words.inTime }).waitFor();
    await page.getByText(words.attempt).first().waitFor();

    // The ledger is written a moment after a turn.
    const exported = `${gateway.url}/api/usage/turns?format=csv`;
    await expect.poll(async () => (await page.request.get(exported)).text()).toContain('third');
    await goTo(words.usage);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: words.export }).click(),
    ]);
    const csv = await text(await download.createReadStream());
    const ofAlice = csv.split('\r\n').filter((line) => line.includes('alice'));
    expect(ofAlice.filter((line) => line.includes('success'))).toHaveLength(2);
    expect(ofAlice.filter((line) => line.includes('third'))).toHaveLength(1);
    expect(csv).not.toContain(secret);

    await page.getByRole('button', { name: words.signOut }).click();
    await page.getByLabel(words.adminKey, { exact: true }).waitFor();
  },
);
