import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { expectAccessible, openPage, snapshot, withoutBrowser } from './support/browser.ts';
import { servicesForTest, type TestServices, userTurn } from './support/services.ts';

async function makeKeys(services: TestServices): Promise<void> {
  const budget = (meter: string, window: string, limit: number) => ({ meter, window, limit });
  const asked = [
    { name: 'build server', owner: 'platform', models: ['sandbox*'], limits: { requests_per_minute: 60 } },
    {
      name: 'alice',
      owner: 'Alice Li',
      limits: { budgets: [budget('cost_cents', 'month', 2_000), budget('requests', 'day', 4)] },
    },
    { name: '测试', labels: ['team-a'], expires_at: '2030-01-31T12:00:00Z' },
  ];
  for (const body of asked) {
    const answer = await fetch(`${services.gatewayUrl}/api/keys`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    expect(answer.status).toBe(201);
    if (body.name !== 'alice') continue;
    const { secret } = (await answer.json()) as { secret: string };
    for (let turn = 0; turn < 4; turn += 1)
      await (await services.chat(userTurn('sandbox', 'Hi'), { authorization: `Bearer ${secret}` })).text();
  }
}

const row = (page: Page, name: string) => page.locator('tbody tr').filter({ hasText: name });

test.skipIf(withoutBrowser)('a key is made, copied, edited, rotated and revoked on the page', async () => {
  const services = await servicesForTest();
  const page = await openPage(services, { path: '#/keys' });
  await page.getByText('No client has a key of its own').waitFor();
  await expectAccessible(page);
  await snapshot(page, 'keys-empty');

  await page.getByRole('button', { name: 'New key' }).first().click();
  await page.getByRole('button', { name: 'Make the key' }).click();
  await page.getByText('Give it a name.').waitFor();
  await page.getByLabel('Name', { exact: true }).fill('ci');
  await page.getByLabel('Requests a minute').fill('0');
  await page.getByRole('button', { name: 'Make the key' }).click();
  await page.getByText('A whole number from 1 on.').waitFor();
  await page.getByLabel('Requests a minute').fill('60');
  await page.getByLabel('Models', { exact: true }).fill('claude-*');
  await page.getByRole('button', { name: 'Add a budget' }).click();
  await page.getByLabel('Limit in US cents').fill('2000');
  await page.getByText('= $20.00').waitFor();
  await expectAccessible(page);
  await snapshot(page, 'key-new');
  await page.getByRole('button', { name: 'Make the key' }).click();

  await page.getByRole('heading', { name: 'The secret of ci' }).waitFor();
  const secret = (await page.locator('.secret-shown .snippet code').first().textContent()) ?? '';
  expect(secret).toMatch(/^w2a_[\w-]{43}$/);
  await expectAccessible(page);
  await page.getByRole('button', { name: 'I have copied it' }).click();
  const turn = async (key: string, model = 'claude-haiku') =>
    (await services.chat(userTurn(model, 'Hi'), { authorization: `Bearer ${key}` })).status;
  expect(await turn(secret)).toBe(200);
  expect(await turn(secret, 'gpt-5')).toBe(403);

  await row(page, 'ci').getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Owner', { exact: true }).fill('platform');
  await page.getByLabel('Models', { exact: true }).fill('');
  await page.getByRole('button', { name: 'Save' }).click();
  await row(page, 'platform').waitFor();
  const shown = async () =>
    (await (await fetch(`${services.gatewayUrl}/api/keys/ci`)).json()) as Record<string, unknown>;
  expect(await shown()).toMatchObject({
    owner: 'platform',
    models: null,
    limits: { requests_per_minute: 60, budgets: [{ meter: 'cost_cents', window: 'month', limit: 2000 }] },
  });
  expect(await turn(secret, 'gpt-5')).toBe(200);

  const choose = async (action: string) => {
    await page.getByRole('button', { name: 'Actions: ci' }).click();
    await page.getByRole('menuitem', { name: action }).click();
  };
  await choose('New secret');
  await page.getByLabel('The present secret stays good for').selectOption({ label: 'No time: it ends now' });
  await page.getByRole('button', { name: 'New secret' }).click();
  await page.getByRole('heading', { name: 'The secret of ci' }).waitFor();
  const next = (await page.locator('.secret-shown .snippet code').first().textContent()) ?? '';
  await page.getByRole('button', { name: 'I have copied it' }).click();
  expect([await turn(secret), await turn(next)]).toEqual([401, 200]);

  await choose('Disable');
  await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
  await row(page, 'Disabled').waitFor();
  expect(await turn(next)).toBe(401);
  await choose('Enable');
  await row(page, 'Active').waitFor();

  await choose('Revoke');
  await page.getByText('its running requests end with an error').waitFor();
  await expectAccessible(page);
  // It is said for some seconds only.
  const said = page.getByText('ci is revoked.').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await said;
  await page.getByLabel('Show revoked keys').check();
  await row(page, 'Revoked').waitFor();
  expect(await turn(next)).toBe(401);
});

test.skipIf(withoutBrowser)('a form is sent once, however often Enter is pressed', async () => {
  const services = await servicesForTest();
  const page = await openPage(services, { path: '#/keys' });
  let sent = 0;
  const pressed = Promise.withResolvers<void>();
  await page.route('**/api/keys', async (route) => {
    if (route.request().method() === 'POST') {
      sent += 1;
      await pressed.promise;
    }
    await route.continue();
  });
  await page.getByRole('button', { name: 'New key' }).first().click();
  // The first field has the focus.
  await page.keyboard.type('ci');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  pressed.resolve();
  await page.getByRole('heading', { name: 'The secret of ci' }).waitFor();
  expect(sent).toBe(1);
});

test.skipIf(withoutBrowser).each([
  { language: 'en', theme: 'light', size: 'wide' },
  { language: 'zh', theme: 'dark', size: 'narrow' },
] as const)('keys show what they may use and have used: $language, $theme, $size', async (look) => {
  const services = await servicesForTest();
  await makeKeys(services);
  const page = await openPage(services, { path: '#/keys', ...look });
  await row(page, 'alice').waitFor();
  await page.locator('.notice').filter({ hasText: 'alice' }).waitFor();
  await expect.poll(() => row(page, 'alice').getByRole('meter').count()).toBe(2);
  await expectAccessible(page);
  expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
  await snapshot(page, `keys-${look.language}`, { isWhole: true });
  await page.locator('tbody tr').filter({ hasText: 'alice' }).getByRole('button').first().click();
  await page.getByRole('dialog').waitFor();
  await expectAccessible(page);
  await snapshot(page, `key-edit-${look.language}`);
});
