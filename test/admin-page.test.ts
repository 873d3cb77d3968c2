import { expect, test } from 'vitest';
import { expectAccessible, expectFaults, openPage, snapshot, withoutBrowser } from './support/browser.ts';
import { servicesForTest } from './support/services.ts';

test.skipIf(withoutBrowser)('the page shows its frame in the language of the browser', async () => {
  const services = await servicesForTest();
  for (const [language, heading] of [
    ['en', 'Start'],
    ['zh', '开始'],
  ] as const) {
    const page = await openPage(services, { language });
    expect(await page.locator('h1').textContent()).toBe(heading);
    await expectAccessible(page);
    await snapshot(page, `start-${language}`);
  }
});

test.skipIf(withoutBrowser)('signing in takes the admin key, and signing out ends it', async () => {
  const adminKey = 'admin-key-1234567890';
  const services = await servicesForTest({ ADMIN_KEY: adminKey });
  const page = await openPage(services);
  await page.getByLabel('Admin key').fill('not-the-admin-key');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('This is not the admin key.').waitFor();
  await expectFaults(page, /401/);
  await expectAccessible(page);
  await snapshot(page, 'sign-in');
  await page.getByLabel('Admin key').fill(adminKey);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
  // The cookie is good at the other service as well.
  await page.goto(`${services.poolUrl}/admin`);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Admin key').waitFor();
});
