import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { inOneDay } from '../src/core/testing/one-minute.ts';
import { expectAccessible, openPage, snapshot, withoutBrowser } from './support/browser.ts';
import { servicesForTest, userTurn } from './support/services.ts';
import { type UpstreamServices, withUpstreams } from './support/upstreams.ts';

async function servicesWithUse(): Promise<UpstreamServices<'one' | 'two'>> {
  const services = await withUpstreams(
    { one: { protocol: 'chat' }, two: { protocol: 'chat' } },
    `models:
  one/chat-text: { price: { input: 3, output: 15 } }
`,
  );
  const asked: [string, number][] = [
    ['one/chat-text', 12],
    ['two/chat-text', 5],
    ['one/chat-text-too-long', 2],
  ];
  for (const [model, times] of asked)
    for (let turn = 0; turn < times; turn += 1) await (await services.chat(userTurn(model, 'Hello'))).text();
  await expect
    .poll(async () => {
      const answer = await fetch(`${services.gatewayUrl}/api/usage`);
      return ((await answer.json()) as { total: { turns: number } }).total.turns;
    })
    .toBe(19);
  return services;
}

test.skipIf(withoutBrowser)('usage is shown by time and by model, filtered and exported', () =>
  inOneDay(async () => {
    const services = await servicesWithUse();
    const page = await openPage(services, { path: '#/usage' });
    const rows = page.locator('.table-frame tbody tr');
    await rows.first().waitFor();
    await expect.poll(() => rows.count()).toBe(3);
    await page.locator('.chart canvas').waitFor();
    await expectAccessible(page);
    await snapshot(page, 'usage', { isWhole: true });

    const stat = (name: string) => page.locator('.stat', { has: page.locator('dt', { hasText: name }) });
    await expect.poll(() => stat('Turns').textContent()).toContain('19');
    await expect.poll(() => stat('Cost').textContent()).toContain('5 turns without a known price');
    const unpriced = rows.filter({ hasText: 'two/chat-text' });
    expect(await unpriced.textContent()).toContain('unknown');

    await page.getByLabel('By', { exact: true }).selectOption('owner');
    await rows.filter({ hasText: '(none)' }).waitFor();
    await page.getByLabel('By', { exact: true }).selectOption('provider');
    await expect.poll(() => rows.count()).toBe(2);
    await page.getByRole('button', { name: 'two', exact: true }).click();
    await expect.poll(() => stat('Turns').textContent()).toContain('5');
    await expect.poll(() => page.url()).toContain('provider=two');
    await page.getByRole('button', { name: /Remove the filter/ }).click();
    await page.getByLabel('Split by').selectOption('model');
    await expect.poll(() => page.locator('.chart .u-legend').textContent()).toContain('one/chat-text');
    await page.getByText('Today').click();
    await page.getByLabel('Time zone').selectOption('UTC');
    await expect.poll(() => page.url()).toContain('tz=UTC');
    await expectAccessible(page);

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Export every turn' }).click(),
    ]);
    const csv = await text(await download.createReadStream());
    expect(csv.trimEnd().split('\r\n')).toHaveLength(20);
  }),
);

test.skipIf(withoutBrowser)('usage reads well in Chinese, in the dark and on a phone', async () => {
  const services = await servicesWithUse();
  const dark = await openPage(services, { path: '#/usage?metric=tokens', language: 'zh', theme: 'dark' });
  await dark.locator('.table-frame tbody tr').first().waitFor();
  await dark.getByText('请求数').first().waitFor();
  await expectAccessible(dark);
  await snapshot(dark, 'usage-zh-dark', { isWhole: true });

  const narrowest = await openPage(services, {
    path: '#/usage',
    context: { viewport: { width: 320, height: 640 } },
  });
  await narrowest.locator('.table-frame tbody tr').first().waitFor();
  expect(await narrowest.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(320);

  const narrow = await openPage(services, { path: '#/usage', size: 'narrow' });
  await narrow.locator('.table-frame tbody tr').first().waitFor();
  expect(await narrow.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(390);
  await expectAccessible(narrow);
  await snapshot(narrow, 'usage-narrow', { isWhole: true });
});

test.skipIf(withoutBrowser)('says so where nothing was used', async () => {
  const services = await servicesForTest();
  const page = await openPage(services, { path: '#/usage' });
  await page.getByText('No turns in this period').waitFor();
  await expectAccessible(page);
  await snapshot(page, 'usage-empty');
});

test.skipIf(withoutBrowser)('an account has its name wherever turns are shown', async () => {
  const services = await servicesForTest();
  const id = await services.addAccount('wk-one-0123456789', { email: 'one@example.com' });
  await (await services.chat(userTurn('auto', 'Hello'), { 'x-request-id': 'first' })).text();
  const page = await openPage(services, { path: '#/turns/first' });
  await page.locator('.time-attempt').getByText('one@example.com').waitFor();
  await page.getByRole('link', { name: 'one@example.com' }).waitFor();
  await page.goto(`${services.gatewayUrl}/admin#/turns`);
  await page
    .locator(`datalist option[value="${id}"][label="one@example.com"]`)
    .waitFor({ state: 'attached' });
  await page.getByLabel('Account').fill('two@example.com');
  await page.getByText('No turn matches these filters').waitFor();
  await page.getByLabel('Account').fill('ONE@exam');
  await page.getByRole('link', { name: 'auto', exact: true }).waitFor();
  await page.goto(`${services.gatewayUrl}/admin#/models/ask?model=auto`);
  await page.getByText('Show').click();
  await page.locator('.named-accounts').getByText('one@example.com').waitFor();
  await page.goto(`${services.gatewayUrl}/admin#/usage?by=account&split=account`);
  await page.locator('.u-legend').getByText('one@example.com').waitFor();
  await page.getByRole('button', { name: 'one@example.com' }).click();
  await page.getByRole('button', { name: 'Remove the filter Account: one@example.com' }).waitFor();
  // The pool names a removed account no more.
  await services.pool(`/api/accounts/${id}`, undefined, 'DELETE');
  await page.reload();
  await page.getByRole('button', { name: `Remove the filter Account: ${id.slice(0, 12)}` }).waitFor();
});

test.skipIf(withoutBrowser)('a key has its name in the filter for it', async () => {
  const services = await servicesForTest();
  const made = await fetch(`${services.gatewayUrl}/api/keys`, { method: 'POST', body: '{"name":"alice"}' });
  const { secret } = (await made.json()) as { secret: string };
  await (await services.chat(userTurn('auto', 'Hello'), { authorization: `Bearer ${secret}` })).text();
  const page = await openPage(services, { path: '#/usage?by=key' });
  await page.getByRole('button', { name: 'alice' }).click();
  await page.getByRole('button', { name: /Remove the filter .*alice/ }).waitFor();
  await page.reload();
  await page.getByRole('button', { name: /Remove the filter .*alice/ }).waitFor();
});
