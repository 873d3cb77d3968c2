import { statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import {
  expectAccessible,
  expectFaults,
  ignoreFaults,
  openPage,
  snapshot,
  withoutBrowser,
} from './support/browser.ts';
import { servicesForTest, type TestServices } from './support/services.ts';

const adminKey = 'admin-key-1234567890';

async function signIn(page: Page): Promise<void> {
  await page.getByLabel('Admin key').fill(adminKey);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
}

/** Tells the page whether it is looked at. */
const setHidden = (page: Page, isHidden: boolean) =>
  page.evaluate(
    `Object.defineProperty(document, 'hidden', { value: ${isHidden}, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))`,
  );

// After the end of a session it is a matter of time what the page notices it by. So nothing is clicked then that may be gone
// or covered.

test.skipIf(withoutBrowser)('signing in takes the admin key, and signing out ends it', async () => {
  const services = await servicesForTest({ ADMIN_KEY: adminKey });
  const page = await openPage(services);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('Enter the key.').waitFor();
  await page.getByLabel('Admin key').fill('not-the-admin-key');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('This is not the admin key.').waitFor();
  await expectFaults(page, /401/);
  await expectAccessible(page);
  await snapshot(page, 'sign-in');
  await signIn(page);
  expect(await page.evaluate('document.cookie')).toBe('');
  // The cookie is good at the other service as well.
  await page.goto(`${services.poolUrl}/admin`);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Admin key').waitFor();
  await page.reload();
  await page.getByLabel('Admin key').waitFor();
});

test.skipIf(withoutBrowser)(
  'a session that has ended is said so, and one goes on where one was',
  async () => {
    const services = await servicesForTest({ ADMIN_KEY: adminKey });
    const page = await openPage(services, { path: '#/turns' });
    const listed = page.waitForResponse(/\/api\/turns/);
    await signIn(page);
    await listed;
    await page.context().clearCookies();
    await page.evaluate('location.hash = "#/settings"');
    await page.getByText('You were signed out').waitFor();
    await expectFaults(page, /401/);
    await expectAccessible(page);
    await signIn(page);
    await page.getByRole('heading', { level: 1, name: 'Settings' }).waitFor();
  },
);

test.skipIf(withoutBrowser)('what was typed into a dialog outlives a session that ends', async () => {
  const services = await servicesForTest({ ADMIN_KEY: adminKey });
  const page = await openPage(services, { path: '#/keys' });
  await signIn(page);
  await page.getByRole('button', { name: 'New key' }).first().click();
  const name = page.getByLabel('Name', { exact: true });
  await name.fill('typed with care');
  await page.context().clearCookies();
  const make = page.getByRole('button', { name: 'Make the key' });
  await make.dispatchEvent('click');
  const signingIn = page.getByRole('dialog', { name: 'Sign in' });
  await signingIn.getByText('You were signed out').waitFor();
  // Nothing of the page is seen, pressed or read out meanwhile.
  await expectFaults(page, /401/);
  await expectAccessible(page);
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  const covers = `document.elementFromPoint(20, 20).closest('dialog')?.className`;
  await expect.poll(() => page.evaluate(covers)).toBe('covering');
  await snapshot(page, 'signed-out-above-dialog');
  await signIn(page);
  await expect.poll(() => signingIn.count()).toBe(0);
  expect(await name.inputValue()).toBe('typed with care');
  await page.getByText('You were signed out: send it again.').waitFor();
  await make.click();
  await page.getByRole('heading', { name: 'The secret of typed with care' }).waitFor();
  ignoreFaults(page, /401/);
});

test.skipIf(withoutBrowser)(
  'a page without a dialog is gone when its session ends, and up to date after it',
  async () => {
    const services = await servicesForTest({ ADMIN_KEY: adminKey });
    const page = await openPage(services, { path: '#/keys' });
    await signIn(page);
    await page.getByRole('button', { name: 'New key' }).first().waitFor();
    await page.context().clearCookies();
    await page.evaluate('location.hash = "#/settings"');
    await page.getByText('You were signed out').waitFor();
    expect(await page.getByRole('link', { name: 'Settings' }).count()).toBe(0);
    ignoreFaults(page, /401/);
  },
);

test.skipIf(withoutBrowser)('a tab goes on after a sign-in in another one', async () => {
  const services = await servicesForTest({ ADMIN_KEY: adminKey });
  const page = await openPage(services, { path: '#/keys' });
  const listed = page.waitForResponse(/\/api\/keys/);
  await signIn(page);
  await listed;
  await setHidden(page, true);
  const other = await page.context().newPage();
  await other.goto(`${services.poolUrl}/admin`);
  await other.getByRole('button', { name: 'Sign out' }).click();
  await signIn(other);
  await setHidden(page, false);
  await page.getByRole('button', { name: 'New key' }).first().click();
  await page.getByLabel('Name', { exact: true }).fill('ci');
  await page.getByRole('button', { name: 'Make the key' }).click();
  await page.getByRole('heading', { name: 'The secret of ci' }).waitFor();
  await expectFaults(page, /403/);
  ignoreFaults(page, /401/);
});

test.skipIf(withoutBrowser)('a page that loads nothing sees that its session has ended', async () => {
  const services = await servicesForTest({ ADMIN_KEY: adminKey });
  const page = await openPage(services, { path: '#/no-such-page' });
  await page.route('**/api/events', (route) => route.fulfill({ status: 502 }));
  await signIn(page);
  await page.getByText('Connection lost').waitFor();
  await page.context().clearCookies();
  await page.getByText('You were signed out').waitFor();
  ignoreFaults(page, /401|502/);
});

test.skipIf(withoutBrowser)('a page that was open asks for the key that a restart has set', async () => {
  const services = await servicesForTest({ ADMIN_KEY: adminKey });
  const page = await openPage(services, { path: '#/no-such-page' });
  const open = { service: 'gateway', version: '1', state: 'open' };
  await page.route('**/api/session', (route) => route.fulfill({ json: open }), { times: 1 });
  await page.route('**/api/events', (route) => route.abort());
  await page.reload();
  await page.evaluate('location.hash = "#/settings"');
  await signIn(page);
  ignoreFaults(page, /401|ERR_FAILED/);
});

test.skipIf(withoutBrowser)('tabs that are not looked at leave connections for others', async () => {
  const services = await servicesForTest();
  let page = await openPage(services);
  for (let tab = 2; tab <= 8; tab += 1) {
    await page.getByText('Live', { exact: true }).waitFor();
    await setHidden(page, true);
    page = await page.context().newPage();
    await page.goto(`${services.gatewayUrl}/admin`);
  }
  await page.getByText('Live', { exact: true }).waitFor();
});

test.skipIf(withoutBrowser)('a page that gets no live data says so, and is loaded again', async () => {
  const services = await servicesForTest();
  const page = await openPage(services, { path: '#/no-such-page' });
  await page.getByText('Live', { exact: true }).waitFor();
  const refused = { error: { code: 'overloaded', message: 'Too many programs.' } };
  await page.route('**/api/events', (route) => route.fulfill({ status: 503, json: refused }));
  await page.goto(`${services.gatewayUrl}/admin#/start`);
  await page.clock.install();
  await page.reload();
  await page.getByText('Too many pages are open').waitFor();
  await services.addAccount('wk-one-0123456789');
  // Before this page's own turn, which is every 15 seconds.
  await page.clock.fastForward(10_500);
  await page.getByText('1 in all.').waitFor();
  await page.unroute('**/api/events');
  await page.getByText('Live', { exact: true }).waitFor();
  await expectFaults(page, /503/);
});

test.skipIf(withoutBrowser)('what went wrong can be read and closed while a dialog is open', async () => {
  const services = await servicesForTest();
  const id = await services.addAccount('wk-one-0123456789');
  const page = await openPage(services, { path: `#/accounts/${id}` });
  await page.route('**/api/accounts/bulk', (route) => route.abort());
  const drawer = page.getByRole('dialog');
  await drawer.getByRole('button', { name: 'Check' }).first().click();
  const said = page.getByRole('status').filter({ hasText: 'The service does not answer' });
  await said.getByRole('button', { name: 'Close' }).click();
  await expect.poll(() => said.count()).toBe(0);
  await drawer.getByRole('button', { name: 'Check' }).first().click();
  await said.waitFor();
  await page.keyboard.press('Escape');
  await said.getByRole('button', { name: 'Close' }).click();
  await expectFaults(page, /ERR_FAILED/);
});

test.skipIf(withoutBrowser)('too many wrong keys are answered with how long to wait', async () => {
  const services = await servicesForTest({ ADMIN_KEY: adminKey });
  const page = await openPage(services);
  const url = `${services.gatewayUrl}/api/session`;
  // The page gets what the service says to too many, whose wait of a second or two may be over before a busy browser asks.
  await page.route(url, async (route) => {
    for (;;) {
      const answer = await fetch(url, { method: 'POST', body: JSON.stringify({ key: 'x' }) });
      const json = await answer.json();
      if (answer.status === 429)
        return route.fulfill({
          status: 429,
          headers: { 'retry-after': answer.headers.get('retry-after') ?? '' },
          json,
        });
    }
  });
  await page.getByLabel('Admin key').fill(adminKey);
  await page.keyboard.press('Enter');
  await page.getByText(/Too many wrong keys were tried\. Try again in \d+ s\./).waitFor();
  await expectFaults(page, /429/);
});

test.skipIf(withoutBrowser)(
  'language and theme follow the browser until they are chosen, and are remembered',
  async () => {
    const services = await servicesForTest();
    const page = await openPage(services, { language: 'zh', theme: 'dark' });
    const look = () =>
      page.evaluate(
        '[document.documentElement.lang, getComputedStyle(document.body).colorScheme, getComputedStyle(document.body).backgroundColor]',
      );
    const [lang, , dark] = (await look()) as string[];
    expect(lang).toBe('zh-CN');
    await page.getByText('偏好设置').click();
    await page.getByText('English').click();
    await page.getByText('Light', { exact: true }).click();
    await expect.poll(async () => ((await look()) as string[]).slice(0, 2)).toEqual(['en', 'light']);
    await page.reload();
    await page.getByRole('link', { name: 'Overview' }).waitFor();
    const [, , light] = (await look()) as string[];
    expect(light).not.toBe(dark);
  },
);

test.skipIf(withoutBrowser)('all of the frame works with the keyboard alone', async () => {
  const services = await servicesForTest();
  const page = await openPage(services, { size: 'narrow' });
  const focused = () =>
    page.evaluate('document.activeElement.textContent || document.activeElement.ariaLabel');
  await page.locator('.step').first().waitFor();
  await page.keyboard.press('Tab');
  await expect.poll(focused).toBe('Skip to the content');
  await page.keyboard.press('Enter');
  await expect.poll(() => page.evaluate('document.activeElement.id')).toBe('content');
  await page.getByRole('button', { name: 'Menu' }).focus();
  await page.keyboard.press('Enter');
  await expectAccessible(page);
  await page.keyboard.press('Tab');
  await expect.poll(focused).toBe('Start');
  await page.keyboard.press('Escape');
  await expect.poll(focused).toBe('Menu');
  await page.keyboard.press('Enter');
  for (let count = 0; count < 2; count += 1) await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await expect.poll(() => page.evaluate('document.activeElement.tagName')).toBe('H1');
  await expect.poll(focused).toBe('Overview');
  await page.getByRole('navigation').waitFor({ state: 'hidden' });
});

/** A page of another site in the same browser. */
async function foreignPage(services: TestServices, html: string): Promise<Page> {
  const page = await openPage(services);
  await signIn(page);
  const other = await page.context().newPage();
  await other.route('http://evil.localhost:9/', (route) =>
    route.fulfill({ contentType: 'text/html', body: html }),
  );
  await other.goto('http://evil.localhost:9/');
  return other;
}

test.skipIf(withoutBrowser)(
  'a page of another site can neither frame it nor write with its session',
  async () => {
    const services = await servicesForTest({ ADMIN_KEY: adminKey });
    const { gatewayUrl, poolUrl } = services;
    const other = await foreignPage(
      services,
      `<iframe src="${gatewayUrl}/admin"></iframe>
     <form method="post" enctype="text/plain" action="${poolUrl}/api/accounts">
       <input name='{"provider":"warp","api_key":"wk-planted-1234567890","label":"' value='"}'></form>`,
    );
    await expect.poll(() => other.frames().length).toBe(2);
    await expect.poll(() => other.frames()[1]?.url()).toBe('chrome-error://chromewebdata/');
    const posted = other.waitForResponse((answer) => answer.url().endsWith('/api/accounts'));
    await other.evaluate('document.forms[0].submit()');
    expect([401, 403]).toContain((await posted).status());
    const headers = { authorization: `Bearer ${adminKey}` };
    const { accounts } = (await (await fetch(`${poolUrl}/api/accounts`, { headers })).json()) as {
      accounts: unknown[];
    };
    expect(accounts).toEqual([]);
  },
);

test.skipIf(withoutBrowser)('what others wrote is text on it, and scripts of others do not run', async () => {
  const services = await servicesForTest();
  const attack = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
  const id = await services.addAccount('wk-one-1234567890', { label: attack });
  await services.chat({ model: attack, messages: [{ role: 'user', content: 'hello' }] });
  const page = await openPage(services);
  for (const name of ['accounts', `accounts/${id}`, 'turns', 'overview', 'models']) {
    await page.goto(`${services.gatewayUrl}/admin#/${name}`);
    await page.locator('h1').waitFor();
    await page.waitForLoadState('networkidle').catch(() => {});
    expect(await page.locator('img[src="x"]').count()).toBe(0);
  }
  await page.getByRole('link', { name: 'Accounts' }).click();
  await page.getByText(attack).first().waitFor();
  const trusted = page.evaluate(`document.body.insertAdjacentHTML('beforeend', '<b>x</b>')`);
  await expect(trusted).rejects.toThrow(/TrustedHTML/);
  await expectFaults(page, /TrustedHTML/);
});

test('a page that is not built says what to do', async () => {
  const { fastify } = await import('fastify');
  const { adminRoutes } = await import('../src/lib/api/admin-page.ts');
  const app = fastify();
  for (const { method, path, handle } of adminRoutes<undefined>('/nowhere')) {
    app.route({
      method,
      url: path.replace('{id}', ':id'),
      handler: (request, reply) => handle(undefined, request as never, reply),
    });
  }
  const answer = await app.inject('/admin');
  expect([answer.statusCode, answer.body]).toEqual([503, expect.stringContaining('npm run build')]);
  await app.close();
});

const firstVisitBytes = 48_500;

test.skipIf(withoutBrowser).each(['start', 'overview'])('a first visit of %s loads little', async (name) => {
  const services = await servicesForTest();
  const page = await (await openPage(services)).context().newPage();
  // The other pages are loaded when the browser is idle.
  await page.addInitScript('globalThis.requestIdleCallback = () => 0');
  await page.goto(`${services.gatewayUrl}/admin#/${name}`);
  await page.locator('h1').waitFor();
  const loaded = (await page.evaluate(
    `performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => name.includes('/assets/'))`,
  )) as string[];
  const files = [...new Set(loaded.map((address) => basename(address)))];
  expect(files.filter((file) => file.includes('-page-') && file.endsWith('.js'))).toEqual([
    expect.stringContaining(`${name}-page-`),
  ]);
  const assets = resolve(import.meta.dirname, '../dist/web/assets');
  const bytes = files.map((file) => statSync(join(assets, `${file}.br`)).size);
  expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(firstVisitBytes);
});

test.skipIf(withoutBrowser)(
  'a page whose files are gone says so, and works once they are there',
  async () => {
    const services = await servicesForTest();
    const page = await (await openPage(services)).context().newPage();
    await page.addInitScript('globalThis.requestIdleCallback = () => 0');
    await page.route(/usage-page-.*\.js/, (route) => route.abort());
    await page.goto(`${services.gatewayUrl}/admin`);
    await page.getByRole('link', { name: 'Usage' }).click();
    await page.getByText('This page could not be loaded.').waitFor();
    await page.unrouteAll();
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('heading', { level: 1, name: 'Usage' }).waitFor();
  },
);

test.skipIf(withoutBrowser)(
  'its files are compressed, kept by the browser, and known by their names',
  async () => {
    const services = await servicesForTest();
    await openPage(services);
    const html = await fetch(`${services.gatewayUrl}/admin`);
    const [script = ''] = /\/admin\/assets\/[\w.-]+\.js/.exec(await html.text()) ?? [];
    const etag = html.headers.get('etag') ?? '';
    expect((await fetch(`${services.gatewayUrl}/admin`, { headers: { 'if-none-match': etag } })).status).toBe(
      304,
    );
    for (const coding of ['br', 'gzip', 'identity', 'br;q=0, gzip']) {
      const answer = await fetch(services.gatewayUrl + script, { headers: { 'accept-encoding': coding } });
      const expected = coding === 'identity' ? null : (coding.split(', ').at(-1) ?? null);
      expect([coding, answer.headers.get('content-encoding')]).toEqual([coding, expected]);
      expect(answer.headers.get('cache-control')).toContain('immutable');
      expect(await answer.text()).toContain('Warp2API');
    }
    const missing = await fetch(`${services.gatewayUrl}/admin/assets/..%2f..%2fpackage.json`);
    expect(missing.status).toBe(404);
  },
);
