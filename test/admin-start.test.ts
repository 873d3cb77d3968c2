import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { expectAccessible, openPage, snapshot, withoutBrowser } from './support/browser.ts';
import { servicesForTest, userTurn } from './support/services.ts';

const key = (name: string) => `wk-${name}-1234567890`;

test.skipIf(withoutBrowser)(
  'the start page says what is missing, and takes it as done once it is',
  async () => {
    const services = await servicesForTest();
    const page = await openPage(services);
    await page.getByText('Until then the built-in sandbox answers').waitFor();
    const steps = page.locator('.step');
    await expect
      .poll(() => steps.locator('.step-mark').allInnerTexts())
      .toEqual(['Done', 'Next', 'Optional', 'To do']);
    await expectAccessible(page);
    await snapshot(page, 'start-empty');
    await services.addAccount(key('one'));
    await page.getByText('1 in all.').waitFor();
    await services.chat(userTurn('auto', 'hello'));
    await page.getByText('The gateway has answered a client.').waitFor();
    await page.getByText('Everything is in place.').waitFor();
    // What it counts is one page of them.
    await page.route('**/api/keys?*', (route) =>
      route.fulfill({ json: { keys: Array.from({ length: 100 }, () => ({})), next_before: 7 } }),
    );
    await page.reload();
    await page.getByText('100+ made.').waitFor();
  },
);

test.skipIf(withoutBrowser)(
  'a snippet has the address, the key and the model, quoted for where it goes',
  async () => {
    const services = await servicesForTest();
    const page = await openPage(services);
    const code = page.locator('.client-snippet code');
    await page.getByLabel('Key').fill("it's $HOME");
    await expect.poll(() => code.first().textContent()).toContain(`'Authorization: Bearer it'\\''s $HOME'`);
    await page.getByLabel('Client').selectOption('Claude Code');
    await expect
      .poll(() => code.first().textContent())
      .toContain(`ANTHROPIC_BASE_URL=${services.gatewayUrl} `);
    await page.getByLabel('Client').selectOption('Codex');
    await expect
      .poll(() => code.allInnerTexts())
      .toEqual([
        expect.stringContaining(`base_url = "${services.gatewayUrl}/v1"`),
        expect.stringContaining('codex exec'),
      ]);
  },
);

async function busyServices() {
  const services = await servicesForTest();
  for (const name of ['one', 'two', 'three']) await services.addAccount(key(name), { label: name });
  const id = await services.addAccount('wk-refused', { label: '<img src=x onerror=alert(1)>' });
  await services.pool(`/api/accounts/${id}`, { enabled: false }, 'PATCH');
  await Promise.all(Array.from({ length: 12 }, () => services.chat(userTurn('auto', 'hello'))));
  await services.chat(userTurn('no-such-model', 'hello'));
  return services;
}

async function showsFigures(page: Page): Promise<void> {
  await page.locator('.turn-stats canvas').waitFor();
  await expect.poll(() => page.locator('.turn-stats .stat dd').nth(1).textContent()).not.toBe('–');
}

test.skipIf(withoutBrowser)('the overview counts accounts and turns as they change', async () => {
  const services = await busyServices();
  const page = await openPage(services, { path: '#/overview' });
  await showsFigures(page);
  await expect.poll(() => page.locator('.stats').first().textContent()).toMatch(/Usable3/);
  await services.addAccount(key('four'));
  await expect.poll(() => page.locator('.stats').first().textContent()).toMatch(/Usable4/);
  await expectAccessible(page);
  await snapshot(page, 'overview');
});

/** What stands out of the window to the right. */
const wide = `[...document.querySelectorAll('body *')]
  .filter((one) => one.getBoundingClientRect().right > innerWidth && !one.closest('pre'))
  .map((one) => one.outerHTML.slice(0, 80))`;

test.skipIf(withoutBrowser).each([
  ['en', 'dark', 'wide'],
  ['zh', 'light', 'wide'],
  ['zh', 'dark', 'narrow'],
  ['en', 'light', 'narrow'],
] as const)('start and overview in %s, %s and %s', async (language, theme, size) => {
  const services = await busyServices();
  for (const name of ['start', 'overview']) {
    const page = await openPage(services, { path: `#/${name}`, language, theme, size });
    if (name === 'overview') await showsFigures(page);
    else await page.locator('.step').first().waitFor();
    await expectAccessible(page);
    await snapshot(page, `${name}-${language}-${theme}-${size}`, { isWhole: true });
    await expect.poll(() => page.evaluate(wide)).toEqual([]);
  }
});

test.skipIf(withoutBrowser)("the pool's own page shows what the pool knows", async () => {
  const services = await servicesForTest();
  await services.addAccount(key('one'));
  const page = await openPage(services, { service: 'pool' });
  await page.getByText(`It answers at ${services.gatewayUrl}`).waitFor();
  expect(await page.getByText('what each client needs').count()).toBe(0);
  await expect
    .poll(() => page.getByRole('navigation').getByRole('link').allInnerTexts())
    .toEqual(['Start', 'Overview', 'Accounts', 'Settings']);
  await expectAccessible(page);
  await page.goto(`${services.poolUrl}/admin#/overview`);
  await page.getByText('How long it lasts').waitFor();
  await page.getByText('Next quota reset').waitFor();
  await expectAccessible(page);
});
