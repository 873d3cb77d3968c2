import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { createAccount } from '../src/pool-api/pool.fake.ts';
import { dialog, path, row, stored, withLogins } from './support/accounts-page.ts';
import { expectAccessible, ignoreFaults, openPage, snapshot, withoutBrowser } from './support/browser.ts';
import { servicesForTest, startTestServices, userTurn } from './support/services.ts';

const choose = async (page: Page, name: string, action: string) => {
  await row(page, name)
    .getByRole('button', { name: `More actions: ${name}` })
    .click();
  await page.getByRole('menuitem', { name: action }).click();
};

test.skipIf(withoutBrowser)(
  'accounts are disabled, enabled, edited, replaced and removed, and the audit has it',
  async () => {
    const services = await servicesForTest();
    await services.addAccount('wk-one-0123456789', { email: 'one@example.com' });
    const page = await openPage(services, { path });
    await page.getByRole('heading', { level: 1, name: 'Accounts', exact: true }).waitFor();
    await page.getByRole('table', { name: 'Accounts', exact: true }).waitFor();
    await choose(page, 'one@example.com', 'Disable');
    await dialog(page).getByText('It is no longer lent').waitFor();
    await dialog(page).getByRole('button', { name: 'Disable' }).click();
    await row(page, 'one@example.com').getByText('You disabled it.').waitFor();
    await row(page, 'one@example.com').getByRole('button', { name: 'Enable' }).click();
    await row(page, 'one@example.com').getByText('Active').waitFor();

    await choose(page, 'one@example.com', 'Edit');
    await dialog(page).getByLabel('Places').fill('many');
    await dialog(page).getByRole('button', { name: 'Save' }).click();
    await dialog(page).getByText('A whole number').waitFor();
    await dialog(page).getByLabel('Places').fill('4');
    // As a Chinese keyboard has its commas.
    await dialog(page).getByLabel('Models').fill('auto，gpt-5, o3');
    // Another admin changes the label meanwhile: that stays.
    const [{ id }] = (await stored(services)).accounts as [{ id: string }];
    await services.pool(`/api/accounts/${id}`, { label: 'theirs' }, 'PATCH');
    await dialog(page).getByText('changed elsewhere meanwhile').waitFor();
    await dialog(page).getByRole('button', { name: 'Save' }).click();
    await row(page, 'one@example.com')
      .getByText(/^[01]\/4$/)
      .waitFor();
    expect((await stored(services)).accounts).toMatchObject([
      { capacity: 4, label: 'theirs', models: ['auto', 'gpt-5', 'o3'] },
    ]);

    await choose(page, 'one@example.com', 'Replace the key');
    await dialog(page).getByLabel('New API key').fill('wk-another-0123456789');
    // It is said for some seconds only.
    const said = page.getByText('has its new credential').waitFor();
    await dialog(page).getByRole('button', { name: 'Replace' }).click();
    await said;

    await row(page, 'one@example.com').getByRole('link').click();
    const panel = dialog(page);
    await panel.getByText('Credential replaced').waitFor();
    await expect.poll(() => panel.getByText('Settings changed').count()).toBeGreaterThanOrEqual(3);
    // Since its models were changed, the gateway has asked for them with it, and holds it for a while.
    await panel.getByText('gateway, shared').waitFor();
    await expectAccessible(page);
    await page.keyboard.press('Escape');
    await expect.poll(() => page.url()).toMatch(/#\/accounts$/);

    await choose(page, 'one@example.com', 'Remove');
    await dialog(page).getByText('This cannot be undone').waitFor();
    await dialog(page).getByRole('button', { name: 'Remove' }).click();
    await page.getByText('No account yet').waitFor();
    expect((await stored(services)).total).toBe(0);
  },
);

test.skipIf(withoutBrowser)(
  'names of others are text, whatever they hold, and addresses can be blurred',
  async () => {
    const services = await servicesForTest();
    await services.addAccount('wk-a-0123456789', {
      label: '<img src=x onerror="document.title=1"> & <b>bold</b>',
    });
    await services.addAccount('wk-b-0123456789', { email: 'משתמש@example.co.il', label: 'עברית שלום' });
    await services.addAccount('wk-c-0123456789', { label: 'x'.repeat(200) });
    const page = await openPage(services, { path, service: 'pool' });
    await row(page, '<b>bold</b>').waitFor();
    await row(page, 'משתמש@example.co.il').waitFor();
    expect(await page.locator('main img').count()).toBe(0);
    const isTooWide = () => page.evaluate('document.documentElement.scrollWidth > innerWidth');
    for (const width of [1280, 1000, 800, 640, 390]) {
      await page.setViewportSize({ width, height: 800 });
      await expect.poll(isTooWide, { message: String(width) }).toBe(false);
    }
    await page.setViewportSize({ width: 1280, height: 860 });
    await page.evaluate("localStorage.setItem('warp2api.blurs-emails', 'yes')");
    await page.reload();
    const link = row(page, 'משתמש').getByRole('link');
    await link.waitFor();
    const filter = `getComputedStyle(document.querySelector('.blurs')).filter`;
    expect(await page.evaluate(filter)).toContain('blur');
    await page.getByRole('checkbox', { name: 'מ…@e…' }).waitFor();
  },
);

test.skipIf(withoutBrowser)('5,000 accounts are filtered and sorted without a row for each', async () => {
  const services = await servicesForTest();
  const accounts = Array.from({ length: 5_000 }, (_, index) =>
    createAccount({
      id: `acc_${String(index).padStart(6, '0')}`,
      email: `user${index}@example.com`,
      status: index % 100 === 0 ? 'disabled' : 'active',
      slots_in_use: index % 17,
    }),
  );
  const page = await openPage(services, { service: 'pool' });
  await page.route('**/api/accounts?*', async (route) => {
    const query = new URL(route.request().url()).searchParams;
    const from = Number(query.get('after') || 0);
    const to = from + Number(query.get('limit'));
    const next_after = to < accounts.length ? String(to) : null;
    const body = { success: true, accounts: accounts.slice(from, to), total: accounts.length, next_after };
    await route.fulfill({ json: body });
  });
  await page.evaluate("location.hash = '#/accounts'");
  await page.getByText('4,950 of 5,000 can be used now').waitFor();
  await page.evaluate(`globalThis.rowsMade = 0;
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes)
        for (const node of addedNodes)
          if (node instanceof Element) globalThis.rowsMade += node.querySelectorAll('tr').length + (node.nodeName === 'TR');
    }).observe(document.querySelector('main'), { childList: true, subtree: true })`);
  const search = page.getByRole('searchbox');
  await search.fill('user4321');
  await row(page, 'user4321@example.com').waitFor();
  await search.fill('');
  await page.getByRole('button', { name: 'Lent' }).click();
  await page.getByRole('row').nth(1).getByText('16/16').waitFor();
  // A row takes a millisecond.
  expect(await page.evaluate('globalThis.rowsMade')).toBeLessThan(1_000);
  expect(await page.getByRole('row').count()).toBeLessThan(300);
  await page.getByRole('button', { name: /^Disabled/ }).click();
  await page.getByRole('checkbox', { name: 'Select all' }).check();
  await page.getByRole('toolbar').getByText('50 selected').waitFor();
});

test.skipIf(withoutBrowser)('the table follows changes and a pool that was started again', async () => {
  const atPort = { POOL_SERVICE_PORT: String(await findFreePort()) };
  const first = await startTestServices(atPort);
  const page = await openPage(first, { path, service: 'pool' });
  await page.getByText('No account yet').waitFor();
  const id = await first.addAccount('wk-one-0123456789', { email: 'one@example.com' });
  await row(page, 'one@example.com').waitFor();
  await first.pool(`/api/accounts/${id}`, undefined, 'DELETE');
  await page.getByText('No account yet').waitFor();
  await first.addAccount('wk-two-0123456789', { email: 'two@example.com' });
  await row(page, 'two@example.com').waitFor();
  ignoreFaults(page, /ERR_/);
  await first.close();
  await page.getByText('Connection lost').waitFor();
  const second = await servicesForTest(atPort);
  await second.addAccount('wk-three-0123456789', { email: 'three@example.com' });
  await row(page, 'three@example.com').waitFor();
  expect(await row(page, 'two@example.com').count()).toBe(0);
});

test.skipIf(withoutBrowser)('a change that comes while the list is loading is not lost', async () => {
  const services = await servicesForTest();
  const id = await services.addAccount('wk-one-0123456789', { email: 'one@example.com' });
  const page = await openPage(services, { service: 'pool' });
  await page.getByText('Live', { exact: true }).waitFor();
  await page.route('**/api/accounts?limit=1000', async (route) => {
    const stale = await (await route.fetch()).json();
    const isHeard = page.waitForResponse((answer) => answer.url().includes('ids='));
    await services.pool(`/api/accounts/${id}`, { label: 'changed' }, 'PATCH');
    await (await isHeard).finished();
    // The second account shows that this answer has been taken.
    const other = createAccount({ id: 'acc_other', email: 'other@example.com' });
    await route.fulfill({ json: { ...stale, accounts: [...stale.accounts, other], total: 2 } });
    await page.unroute('**/api/accounts?limit=1000');
  });
  await page.evaluate("location.hash = '#/accounts'");
  await row(page, 'other@example.com').waitFor();
  expect(await row(page, 'one@example.com').getByText('changed').count()).toBe(1);
});

test.skipIf(withoutBrowser)('what ends late closes no other dialog', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-one-0123456789', { email: 'one@example.com' });
  const page = await openPage(services, { path });
  const isOpen = Promise.withResolvers<void>();
  await page.route('**/api/accounts/bulk', async (route) => {
    await isOpen.promise;
    await route.continue();
  });
  await choose(page, 'one@example.com', 'Disable');
  await dialog(page).getByRole('button', { name: 'Disable' }).click();
  await page.keyboard.press('Escape');
  await choose(page, 'one@example.com', 'Edit');
  const said = dialog(page).getByText('one@example.com is disabled').waitFor();
  isOpen.resolve();
  await said;
  await dialog(page).getByLabel('Places').waitFor();
});

test.skipIf(withoutBrowser)('the pool is refilled from its sources', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-one-0123456789', { email: 'one@example.com', standby: true });
  const page = await openPage(services, { path, service: 'pool' });
  await row(page, 'one@example.com').waitFor();
  await page.getByRole('button', { name: 'Refill the pool' }).click();
  await dialog(page).getByRole('button', { name: 'Refill now' }).click();
  await dialog(page)
    .getByText(/were added|enough accounts/)
    .waitFor();
  await expectAccessible(page);
  await page.keyboard.press('Escape');
  await row(page, 'one@example.com').getByText('Active').waitFor();
});

test.skipIf(withoutBrowser)('it reads well in both languages and themes, and on a phone', async () => {
  const services = await servicesForTest(withLogins);
  services.upstream.setCredits('wk-one-0123456789', { limit: 2_500, used: 830 });
  services.upstream.setCredits('wk-two-0123456789', { limit: 1_000, used: 930 });
  const lena = await services.addAccount('wk-one-0123456789', { email: 'lena@example.com', label: 'team' });
  await services.addAccount('wk-two-0123456789', { email: 'marek@example.com', label: 'team', tier: 1 });
  const free = await services.addAccount('wk-three.spent', { email: 'free@example.org', free: true });
  await services.addAccount('wk-four-0123456789', { label: 'night jobs', tier: 1 });
  const off = await services.addAccount('wk-five-0123456789', { email: 'old-laptop@example.com' });
  await services.pool(`/api/accounts/${off}`, { enabled: false }, 'PATCH');
  await services.pool('/api/accounts', {
    provider: 'warp',
    refresh_token: 'rt-dead',
    email: 'sofia@example.net',
  });
  const borrowed = { session_id: 'nightly-report', exclusive: false, slots: 3, prefer: lena };
  await services.pool('/api/accounts/allocate', borrowed);
  for (const [language, theme, size] of [
    ['en', 'light', 'wide'],
    ['zh', 'dark', 'narrow'],
  ] as const) {
    const page = await openPage(services, { path, language, theme, size });
    await row(page, 'lena@example.com').waitFor();
    await expectAccessible(page);
    await snapshot(page, language === 'en' ? 'accounts' : 'accounts-zh-dark-narrow');
    await page.route(`**/api/accounts/${free}`, async (route) => {
      const response = await route.fetch();
      const answer = (await response.json()) as { account: object };
      const skip = { at: '2026-11-27T10:00:00Z', reason: 'free_quota_spent', session_id: 'job-1' };
      const account = { ...answer.account, status_evidence: { retry_after_ms: 90_000 }, last_skips: [skip] };
      await route.fulfill({ response, json: { ...answer, account } });
    });
    await row(page, 'free@example.org').getByRole('link').click();
    const [skipped, rest] =
      language === 'en' ? ['free quota used up', '1 min 30'] : ['免费额度用尽', '1分钟 30'];
    await dialog(page).locator('li', { hasText: skipped }).waitFor({ state: 'attached' });
    await dialog(page).locator('dd', { hasText: rest }).waitFor({ state: 'attached' });
    await dialog(page).getByRole('heading', { level: 3 }).first().waitFor();
    await expectAccessible(page);
    await snapshot(page, language === 'en' ? 'account' : 'account-zh-dark-narrow');
  }
});

test.skipIf(withoutBrowser)('on a phone the actions for many accounts stay below the head', async () => {
  const services = await servicesForTest();
  for (const name of ['one', 'two', 'three', 'four', 'five'])
    await services.addAccount(`wk-${name}-0123456789`, { email: `${name}@example.com` });
  const page = await openPage(services, { path, size: 'narrow' });
  await row(page, 'five@example.com').getByRole('checkbox').check();
  await page.getByRole('toolbar').waitFor();
  const barBelowHead = `(() => {
    const [head, bar] = ['.top', '.bulk-bar'].map((name) => document.querySelector(name).getBoundingClientRect());
    return bar.top - head.bottom;
  })()`;
  await page.evaluate('scrollTo(0, document.documentElement.scrollHeight)');
  await expect.poll(() => page.evaluate('scrollY')).toBeGreaterThan(500);
  await expect.poll(() => page.evaluate(barBelowHead)).toBeGreaterThanOrEqual(0);
});

test.skipIf(withoutBrowser)('it is used by keyboard alone', async () => {
  const services = await servicesForTest();
  await services.addAccount('wk-one-0123456789', { email: 'one@example.com' });
  const page = await openPage(services, { path, service: 'pool' });
  const menu = row(page, 'one@example.com').getByRole('button', { name: 'More actions' });
  await menu.focus();
  const openedFocus = await page.evaluate(`(async () => {
    document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true }));
    await new Promise((resolve) => setTimeout(resolve));
    return document.activeElement.role;
  })()`);
  expect(openedFocus, 'the next key, however soon, is read by the menu').toBe('menuitem');
  await page.keyboard.press('Escape');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('d');
  await page.keyboard.press('Enter');
  await dialog(page).getByText('It is no longer lent').waitFor();
  await page.keyboard.press('Escape');
  await expect.poll(() => page.getByRole('dialog').count()).toBe(0);
  const focused = () => page.evaluate('document.activeElement.textContent');
  await row(page, 'one@example.com').getByRole('link').focus();
  await page.keyboard.press('Enter');
  await dialog(page).getByText('No session holds it.').waitFor();
  await page.keyboard.press('Escape');
  await expect.poll(() => page.getByRole('dialog').count()).toBe(0);
  await expect.poll(focused).toBe('one@example.com');
  await row(page, 'one@example.com').getByRole('button', { name: 'Check' }).focus();
  const said = page.getByRole('status').filter({ hasText: 'one@example.com' }).waitFor();
  await page.keyboard.press('Enter');
  await said;
  await expect.poll(focused).toBe('Check');
});

test.skipIf(withoutBrowser)(
  'at the gateway it shows the turns of an account, those that run too',
  async () => {
    const services = await servicesForTest();
    await services.addAccount('wk-one-0123456789', { email: 'one@example.com' });
    const page = await openPage(services, { path });
    const abort = new AbortController();
    const turn = fetch(`${services.gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(userTurn('sandbox-stall', 'Hello', { stream: true })),
      signal: abort.signal,
    });
    await row(page, 'one@example.com').getByText('1 running').waitFor();
    await row(page, 'one@example.com').getByRole('link').click();
    await dialog(page).getByText('Running', { exact: true }).waitFor();
    await expectAccessible(page);
    abort.abort();
    await turn.then((answer) => answer.text()).catch(() => undefined);
    await dialog(page).getByText('Cancelled', { exact: true }).waitFor();
  },
);
