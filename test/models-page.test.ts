import { expect, test } from 'vitest';
import { expectAccessible, expectFaults, openPage, snapshot, withoutBrowser } from './support/browser.ts';
import { eventually, servicesForTest } from './support/services.ts';
import { withUpstreams } from './support/upstreams.ts';

const yaml = `aliases:
  quick: local/chat-text
models:
  local/chat-text: { context_window: 131072, tools: true, vision: true, price: { input: 0.6, output: 2.2 } }
routes:
  - model: coding
    candidates:
      - { provider: local, model: chat-text, tier: 1, weight: 3 }
      - { provider: anthro, model: claude-text, tier: 1, weight: 1, labels: [team-a] }
      - { provider: anthro, model: claude-text, tier: 2, when: { max_context: 150000, images: false } }
    first_content_timeout_seconds: 8
  - model: "chat-*"
    delivery: whole
    candidates: [{ provider: local, model: "*" }]
`;
const upstreams = {
  local: { protocol: 'chat', keys: ['sk-a-1234567890', 'sk-b-1234567890'] },
  anthro: { protocol: 'messages' },
} as const;

test.skipIf(withoutBrowser)('the models are a table over their providers, and are searched', async () => {
  const services = await withUpstreams(upstreams, yaml);
  await eventually('the lists are known', async () => {
    const { models } = (await (await fetch(`${services.gatewayUrl}/api/models`)).json()) as {
      models: { is_proven: boolean }[];
    };
    return models.length > 0 && models.every(({ is_proven }) => is_proven);
  });
  const page = await openPage(services, { path: '#/models' });
  const row = page.getByRole('row').filter({ has: page.getByText('chat-text', { exact: true }) });
  await row.getByText('2 can serve').waitFor();
  for (const part of [
    'not there',
    '131.1k',
    '$0.60 in',
    '$2.20 out',
    'tools, images',
    'alias quick',
    'route coding',
  ])
    await expect.poll(() => row.textContent()).toContain(part);
  await expectAccessible(page);
  await snapshot(page, 'models');
  await page.getByRole('searchbox').fill('quick');
  await expect.poll(() => page.getByRole('row').count()).toBe(2);
  // On a phone a model names only the providers that have it.
  await page.setViewportSize({ width: 390, height: 844 });
  await row.locator('.not-there').waitFor({ state: 'hidden' });
  await row.getByText('2 can serve').waitFor();
  await page.setViewportSize({ width: 1280, height: 860 });
  await row.locator('.not-there').waitFor();
  await page.getByText('Routes and aliases').click();
  await page.getByText('75% of its turns').waitFor();
  await page.getByText('accounts labelled team-a').waitFor();
  await expectAccessible(page);
  await snapshot(page, 'routes');
});

test.skipIf(withoutBrowser)('what names hold that a browser obeys or hides is shown', async () => {
  const odd = 'aliases: { "a\\u202etxe.\\u0007x": local/chat-text }\n';
  const services = await withUpstreams({ local: upstreams.local }, odd);
  const page = await openPage(services, { path: '#/models' });
  await page.getByText('alias a\\u{202e}txe.\\u{7}x').waitFor();
  await page.getByText('Routes and aliases').click();
  await page.getByText('a\\u{202e}txe.\\u{7}x', { exact: true }).waitFor();
});

test.skipIf(withoutBrowser)('it is asked which account would answer', async () => {
  const services = await withUpstreams(upstreams, yaml);
  const page = await openPage(services, { path: '#/models/ask?model=coding' });
  await page.getByText('Would answer now').waitFor();
  await page.getByText('The route coding of the configuration file.').waitFor();
  await page.getByText('The pool has no account that matches.').waitFor();
  await page.getByLabel('Images').check();
  await page.getByText('More about the request').click();
  await page.getByLabel('Size in tokens').fill('200000');
  await page.keyboard.press('Enter');
  await page.getByText('not for requests with or without images as this one').waitFor();
  await page.getByText('Its context holds 131,072 tokens').waitFor();
  await expectAccessible(page);
  await snapshot(page, 'ask', { isWhole: true });
  await page.getByRole('combobox', { name: 'Model' }).fill('no such/模型 1');
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.getByText('No account would answer now').waitFor();
  await page.getByText('404 model_not_found').waitFor();
  await expectAccessible(page);
});

test.skipIf(withoutBrowser).each(['chat', 'responses', 'messages', 'gemini'])(
  'a turn is sent and shown with what was decided: %s',
  async (dialect) => {
    const services = await withUpstreams(upstreams, yaml);
    const page = await openPage(services, { path: '#/models/attempt?model=coding', theme: 'dark' });
    await page.getByLabel('Dialect').selectOption(dialect);
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('Success', { exact: true }).waitFor();
    await expect.poll(() => page.locator('.trial-text').last().textContent()).toMatch(/.{4}/s);
    await page.getByText(/^local\/chat-text#acc_/).waitFor();
    await expectAccessible(page);
    await snapshot(page, `try-${dialect}-dark`, { isWhole: true });
  },
);

test.skipIf(withoutBrowser)('a client key is asked for where there is one, and kept nowhere', async () => {
  const adminKey = 'admin-key-1234567890';
  const clientKey = 'client-key-1234567890';
  const services = await servicesForTest({ ADMIN_KEY: adminKey, API_KEYS: clientKey });
  const page = await openPage(services, { path: '#/models/attempt?model=sandbox' });
  await page.getByLabel('Admin key').fill(adminKey);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByText('This gateway asks for a client key: enter one above.').waitFor();
  await page.getByLabel('Client key').fill(clientKey);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByText('Success', { exact: true }).waitFor();
  const stored = await page.evaluate(
    'JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])',
  );
  expect(stored).not.toContain(clientKey);
  await page.reload();
  expect(await page.getByLabel('Client key').inputValue()).toBe('');
  await expectFaults(page, /401/);
  await page.goto(`${services.gatewayUrl}/admin#/models`);
  await page.locator('tbody').getByText('built in').first().waitFor();
});

test.skipIf(withoutBrowser)('an answer of any length is cut to its end, and is stopped', async () => {
  const services = await servicesForTest();
  const page = await openPage(services, { path: '#/models/attempt?model=sandbox-burst-60000' });
  await page.getByText('The pool has no account').waitFor();
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByText('The beginning is left out: the last 100,000 characters are shown.').waitFor();
  const shown = await page.locator('.trial-text').textContent();
  expect(shown?.length).toBeLessThanOrEqual(100_000);
  await page.getByText('Success', { exact: true }).waitFor();
  await page.getByRole('combobox', { name: 'Model' }).fill('sandbox-stall');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('Stopped.').waitFor();
});

test.skipIf(withoutBrowser)('all of it fits on a phone, in Chinese', async () => {
  const services = await withUpstreams(upstreams, yaml);
  for (const section of ['', '/routes', '/ask?model=coding', '/attempt?model=coding']) {
    const page = await openPage(services, { path: `#/models${section}`, language: 'zh', size: 'narrow' });
    await page.getByRole('heading', { name: '模型与路由' }).waitFor();
    if (section.startsWith('/ask')) await page.getByText('现在会应答的是').waitFor();
    if (section.startsWith('/attempt')) {
      await page.getByRole('button', { name: '发送' }).click();
      await page.getByText('成功', { exact: true }).waitFor();
    }
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(390);
    await expectAccessible(page);
    await snapshot(page, `models-zh-narrow${section.replace(/\?.*/, '').replace('/', '-')}`, {
      isWhole: true,
    });
  }
});
