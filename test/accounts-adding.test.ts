import { expect, test } from 'vitest';
import { dialog, path, row, stored, withLogins } from './support/accounts-page.ts';
import { expectAccessible, expectFaults, openPage, snapshot, withoutBrowser } from './support/browser.ts';
import { servicesForTest } from './support/services.ts';

test.skipIf(withoutBrowser)('an empty pool says what to do, and an account is added by its key', async () => {
  const services = await servicesForTest();
  const page = await openPage(services, { path, service: 'pool' });
  await page.getByText('No account yet').waitFor();
  await page.getByText('the built-in sandbox answers').waitFor();
  await page.getByRole('button', { name: 'Add accounts' }).last().click();
  await dialog(page).getByRole('button', { name: 'Add', exact: true }).click();
  await dialog(page).getByText('Enter it.').waitFor();
  await dialog(page).getByLabel('API key').fill('wk-first with spaces');
  await dialog(page).getByRole('button', { name: 'Add', exact: true }).click();
  await dialog(page).getByText('holds spaces').waitFor();
  await expectAccessible(page);
  await dialog(page).getByLabel('API key').fill('wk-first-0123456789');
  await dialog(page).getByLabel('E-mail').fill('me@example.com');
  await dialog(page).getByText('More settings').click();
  await dialog(page).getByLabel('Tier').fill('2');
  await dialog(page).getByLabel('API key').press('Enter');
  await row(page, 'me@example.com').getByText('Active').waitFor();
  expect((await stored(services)).accounts).toMatchObject([{ email: 'me@example.com', tier: 2 }]);
  expect(await page.content()).not.toContain('wk-first');
  await expectFaults(page, /400/);
});

test.skipIf(withoutBrowser)(
  'an account is added while the providers are still loading, or did not load',
  async () => {
    const services = await servicesForTest();
    const page = await openPage(services, { path: '#/settings' });
    let calls = 0;
    await page.route('**/api/accounts/providers', async (route) => {
      calls += 1;
      if (calls === 1) return route.abort();
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      return route.continue();
    });
    await page.getByRole('link', { name: 'Accounts' }).click();
    await page.getByRole('button', { name: 'Add accounts' }).last().click();
    await dialog(page).getByLabel('API key').fill('wk-first-0123456789');
    await dialog(page).getByLabel('E-mail').fill('me@example.com');
    await dialog(page).getByRole('button', { name: 'Add', exact: true }).click();
    await row(page, 'me@example.com').getByText('Active').waitFor();
    await expectFaults(page, /ERR_FAILED/);
  },
);

test.skipIf(withoutBrowser)('a device login shows its code, and what becomes of it', async () => {
  const services = await servicesForTest(withLogins);
  const { tokens } = services.upstream;
  tokens.set({ device: { intervalSeconds: 1, lifetimeSeconds: 300 } });
  const page = await openPage(services, { path });
  await page.getByRole('button', { name: 'Add accounts' }).last().click();
  await dialog(page).getByText('Log in', { exact: true }).click();
  await dialog(page).getByLabel('Label').fill('work');
  await dialog(page).getByRole('button', { name: 'Start' }).click();
  const code = dialog(page).locator('.login-code code');
  await code.waitFor();
  await page.getByRole('img', { name: 'Scan the code' }).waitFor();
  await page.getByText('Time left').waitFor();
  await snapshot(page, 'accounts-login');
  await expectAccessible(page);
  // Cancelled by its dialog.
  await dialog(page).getByRole('button', { name: 'Cancel the login' }).click();
  await dialog(page).getByText('It was cancelled.').waitFor();
  // Left alone until it expires while its dialog is open.
  tokens.set({ device: { intervalSeconds: 1, lifetimeSeconds: 2 } });
  await dialog(page).getByRole('button', { name: 'Start again' }).click();
  await dialog(page).getByText('The login has expired.').waitFor();
  tokens.set({ device: { intervalSeconds: 1, lifetimeSeconds: 300 } });
  await dialog(page).getByRole('button', { name: 'Start again' }).click();
  await code.waitFor();
  // It goes on without its dialog.
  await page.keyboard.press('Escape');
  await page.getByText('A login waits for its approval.').waitFor();
  await page.getByRole('button', { name: 'Show', exact: true }).click();
  tokens.decide((await code.textContent()) ?? '', 'approve');
  await dialog(page).getByText('Approved: the account is in the pool.').waitFor();
  await dialog(page).getByRole('link', { name: 'Show the account' }).click();
  await dialog(page).getByText('Refresh token').first().waitFor();
  expect((await stored(services)).accounts).toMatchObject([{ source: 'login', label: 'work' }]);
});

test.skipIf(withoutBrowser)(
  'what a provider answers to a login is text, and only a page of the web is a link',
  async () => {
    const services = await servicesForTest(withLogins);
    const page = await openPage(services, { path, service: 'pool' });
    const login = {
      id: 'login_1',
      provider: 'warp',
      status: 'pending',
      user_code: '<b>AB-CD</b>',
      verification_uri: 'javascript:alert(1)',
      verification_uri_complete: `javascript:alert('${'x'.repeat(5_000)}')`,
      expires_at: new Date(Date.now() + 60_000).toISOString(),
      interval_seconds: 5,
      account_id: null,
      error: null,
    };
    await page.route('**/api/logins*/**', (route) => route.fulfill({ json: { success: true, login } }));
    await page.route('**/api/logins', (route) =>
      route.fulfill({
        json: route.request().method() === 'GET' ? { success: true, logins: [] } : { success: true, login },
      }),
    );
    await page.getByRole('button', { name: 'Add accounts' }).last().click();
    await dialog(page).getByText('Log in', { exact: true }).click();
    await dialog(page).getByRole('button', { name: 'Start' }).click();
    await dialog(page).getByText('<b>AB-CD</b>').waitFor();
    expect(await dialog(page).getByRole('link').count()).toBe(0);
    expect(await dialog(page).getByRole('img').count()).toBe(0);
  },
);

test.skipIf(withoutBrowser)('an account that needs its owner is logged in again', async () => {
  const services = await servicesForTest(withLogins);
  const { tokens } = services.upstream;
  tokens.set({ device: { intervalSeconds: 1 } });
  await services.pool('/api/accounts', {
    provider: 'warp',
    refresh_token: 'rt-dead',
    email: 'me@example.com',
  });
  const page = await openPage(services, { path, service: 'pool' });
  await row(page, 'me@example.com').getByText('Needs you').waitFor();
  await row(page, 'me@example.com').getByText('no longer accepts its refresh token').waitFor();
  await row(page, 'me@example.com').getByRole('button', { name: 'Log in again' }).click();
  const code = dialog(page).locator('.login-code code');
  tokens.decide((await code.textContent()) ?? '', 'approve', 'me@example.com');
  await dialog(page).getByText('Approved: the account has its new credential.').waitFor();
  await page.keyboard.press('Escape');
  await row(page, 'me@example.com').getByText('Active').waitFor();
});

test.skipIf(withoutBrowser)(
  '200 lines are imported, each with its result, and no secret is shown again',
  async () => {
    const services = await servicesForTest();
    const page = await openPage(services, { path });
    const lines = Array.from({ length: 200 }, (_, index) => {
      if (index % 50 === 7) return `{"provider": "warp", "apikey": "wk-bad-${index}"}`;
      if (index % 50 === 9) return `wk-secret key ${index}`;
      if (index === 100) return 'wk-secret-0123456789-0';
      return index % 2 === 0
        ? `wk-secret-0123456789-${index}`
        : JSON.stringify({ provider: 'warp', api_key: `wk-secret-0123456789-${index}`, label: 'imported' });
    });
    await page.getByRole('button', { name: 'Add accounts' }).last().click();
    await dialog(page).getByText('Many lines').click();
    await dialog(page).getByLabel('One account a line').fill(lines.join('\n'));
    await dialog(page).getByRole('button', { name: 'Import 200 lines' }).click();
    await dialog(page).getByText('200 of 200 lines').waitFor({ timeout: 120_000 });
    await dialog(page).getByText('191 added, 1 already known, 8 not usable').waitFor();
    await dialog(page).getByRole('row').filter({ hasText: 'unknown field: "apikey"' }).first().waitFor();
    expect(await dialog(page).getByRole('row').count()).toBe(9);
    expect(await page.content()).not.toContain('wk-secret');
    await expectAccessible(page);
    await snapshot(page, 'accounts-import');
    await page.keyboard.press('Escape');
    expect(await stored(services)).toMatchObject({ total: 191 });

    // All that a filter leaves, and no other.
    await page.getByLabel('Label', { exact: true }).selectOption({ label: 'imported' });
    const labelled = (await stored(services, '&label=imported')).total;
    const table = page.getByRole('table', { name: 'Accounts', exact: true });
    await expect.poll(() => table.getAttribute('aria-rowcount')).toBe(String(1 + labelled));
    await page.getByRole('checkbox', { name: 'Select all' }).check();
    const bar = page.getByRole('toolbar');
    await bar.getByText(`${labelled} selected`).waitFor();
    await bar.getByRole('button', { name: 'Disable' }).click();
    await dialog(page).getByText(`Disable ${labelled} accounts?`).waitFor();
    await expectAccessible(page);
    await dialog(page).getByRole('button', { name: 'Disable' }).click();
    await dialog(page).getByText(`All ${labelled} done.`).waitFor({ timeout: 120_000 });
    await dialog(page).getByRole('button', { name: 'Close' }).last().click();
    expect(await stored(services, '&status=disabled')).toMatchObject({ total: labelled });
    await page.getByRole('button', { name: /^Disabled/ }).waitFor();

    await page.getByRole('checkbox', { name: 'Select all' }).check();
    await bar.getByRole('button', { name: 'Actions' }).click();
    await page.getByRole('menuitem', { name: 'Remove' }).click();
    const remove = dialog(page).getByRole('button', { name: 'Remove' });
    expect(await remove.isDisabled()).toBe(true);
    await dialog(page).getByLabel('to confirm').fill(String(labelled));
    await remove.click();
    await dialog(page).getByText(`All ${labelled} done.`).waitFor({ timeout: 120_000 });
    expect(await stored(services)).toMatchObject({ total: 191 - labelled });
  },
);

test.skipIf(withoutBrowser)('an import goes on after the session ended in the middle of it', async () => {
  const adminKey = 'admin-key-1234567890';
  const services = await servicesForTest({ ADMIN_KEY: adminKey });
  const page = await openPage(services, { path });
  const signIn = async () => {
    await page.getByLabel('Admin key').fill(adminKey);
    await page.keyboard.press('Enter');
    await page.getByRole('navigation').waitFor();
  };
  await signIn();
  let calls = 0;
  await page.route('**/api/accounts/import', async (route) => {
    calls += 1;
    if (calls === 3) await page.context().clearCookies();
    await route.continue();
  });
  await page.getByRole('button', { name: 'Add accounts' }).last().click();
  await dialog(page).getByText('Many lines').click();
  const lines = Array.from({ length: 50 }, (_, index) => `wk-secret-0123456789-${index}`);
  await dialog(page).getByLabel('One account a line').fill(lines.join('\n'));
  await dialog(page).getByRole('button', { name: 'Import 50 lines' }).click();
  await page.getByLabel('Admin key').waitFor();
  await signIn();
  await page.getByText('The import stopped with').waitFor();
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByText('50 added').waitFor();
  expect(await page.content()).not.toContain('wk-secret');
  await expectFaults(page, /401/);
});
