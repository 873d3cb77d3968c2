import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectAccessible, openPage, snapshot, withoutBrowser } from './support/browser.ts';
import { servicesForTest } from './support/services.ts';

const path = '#/settings';

test.skipIf(withoutBrowser)('settings are searched, and show where each value comes from', async () => {
  const { gatewayUrl, poolUrl } = await servicesForTest({
    MIN_POOL_SIZE: '3',
    HTTPS_PROXY: 'http://user:pass-word-1@127.0.0.1:3128',
    NO_PROXY: '*',
    GATEWAY_KEY: 'gateway-key-0123456789abcdef',
  });
  const page = await openPage({ gatewayUrl, poolUrl }, { path });
  await page.getByRole('heading', { name: 'Settings', level: 1 }).waitFor();
  const row = (name: string) =>
    page.getByRole('listitem').filter({ has: page.getByText(name, { exact: true }) });
  await row('MIN_POOL_SIZE').getByText('Environment').waitFor();
  const runningFor = page.locator('.stat').filter({ hasText: 'Running for' }).locator('dd').first();
  await expect.poll(() => runningFor.textContent()).toMatch(/^(\d+\smin\s)?\d+(\.\d)?\ss$/);
  expect(await row('MIN_POOL_SIZE').textContent()).toContain('Default: 5');
  expect(await row('GATEWAY_KEY').textContent()).toContain('set, not shown');
  expect(await row('HTTPS_PROXY').textContent()).toContain('http://***@127.0.0.1:3128');
  expect(await row('LOG_FILE').textContent()).toContain('not set');
  await expectAccessible(page);
  await snapshot(page, 'settings');

  await page.getByRole('searchbox').fill('idle minutes');
  await expect.poll(() => row('SESSION_TIMEOUT_MINUTES').count()).toBe(1);
  expect(await row('MIN_POOL_SIZE').count()).toBe(0);
  await page.getByRole('searchbox').fill('');
  await page.getByText('Only those that are set').click();
  await expect.poll(() => row('LOG_FILE').count()).toBe(0);
  expect(await row('MIN_POOL_SIZE').count()).toBe(1);
  await page.getByRole('searchbox').fill('zzz');
  await page.getByText('No setting matches').waitFor();
  expect(await page.content()).not.toMatch(/pass-word-1|gateway-key-0/);
});

test.skipIf(withoutBrowser)(
  'the configuration file is read again, and its fault is shown with its place',
  async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'warp2api-settings-page-')), 'warp2api.yaml');
    const good = `providers:
  company: { type: openai_compatible, base_url: "https://llm.example.com/v1" }
`;
    writeFileSync(file, good);
    const services = await servicesForTest({ CONFIG_FILE: file });
    const page = await openPage(services, { path, theme: 'dark' });
    await page.getByText('In force', { exact: true }).waitFor();
    await page.getByText('company', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Read the file again' }).click();
    await page.getByText('The file is in force as it is now.').waitFor();
    writeFileSync(
      file,
      `${good}routes:\n  - model: fast\n    candidates: [{ provider: compani, model: x }]\n`,
    );
    await page.getByRole('button', { name: 'Read the file again' }).click();
    await page.getByText('The file has a fault and is refused.').waitFor();
    await page
      .getByText(/line 5, column \d+: routes\.0\.candidates\.0\.provider: .*did you mean "company"/)
      .waitFor();
    await expectAccessible(page);
    await snapshot(page, 'settings-fault-dark');
  },
);

test.skipIf(withoutBrowser)('the pool shows its own, in Chinese and on a phone', async () => {
  const services = await servicesForTest();
  for (const service of ['pool', 'gateway'] as const) {
    const page = await openPage(services, { path, service, language: 'zh', size: 'narrow' });
    await page.getByText('存储与磁盘').waitFor();
    await page.getByText('会话空闲多少分钟后失去其账号。').waitFor();
    await page.getByRole('searchbox').fill('空闲多少分钟');
    await expect.poll(() => page.locator('.setting-name').count()).toBe(1);
    await page.getByRole('searchbox').fill('');
    const width = await page.evaluate('document.documentElement.scrollWidth');
    expect(width).toBeLessThanOrEqual(390);
    await expectAccessible(page);
    await snapshot(page, `settings-zh-narrow-${service}`, { isWhole: true });
  }
});
