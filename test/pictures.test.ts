import { spawnSync } from 'node:child_process';
import { globSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import type { UsageMinutes } from '../src/core/shown-usage.ts';
import { openPage, type PageOptions, withoutBrowser } from './support/browser.ts';
import { servicesWithRealDay } from './support/real-day.ts';

/** The pictures of the documentation, made from the page itself: UPDATE_PICTURES=1 npx vitest run test/pictures.test.ts */

const root = resolve(import.meta.dirname, '..');
const folder = join(root, 'docs/pictures');

/** Each with what has to be on the page first, and how tall the window is. */
const pictures: Readonly<Record<string, PageOptions & { readonly shows: string; readonly height: number }>> =
  {
    start: { path: '#/start', shows: '.client-snippet', height: 560 },
    overview: { path: '#/overview', shows: '.turn-stats canvas', height: 880 },
    'overview-zh': { path: '#/overview', language: 'zh', shows: '.turn-stats canvas', height: 880 },
    accounts: { path: '#/accounts', shows: 'tbody tr', height: 900 },
    turn: { path: '#/turns/moved', shows: '.timeline', height: 1060 },
    usage: { path: '#/usage?period=7d&split=model', shows: '.chart canvas', height: 1000 },
    keys: { path: '#/keys', shows: 'tbody tr', height: 620 },
    models: { path: '#/models', shows: 'tbody tr', height: 740 },
  };

/** Turns are spread over the last half hour, as those of the test all happened within seconds. */
async function spreadTurns(page: Page): Promise<void> {
  await page.route('**/api/usage/minutes', async (route) => {
    const response = await route.fetch();
    const { minutes } = (await response.json()) as UsageMinutes;
    const spread = minutes.map(({ start }, at) => {
      const minute = minutes.length - 1 - at;
      const count = 3 + ((minute * 7) % 5) + (minute % 9 === 4 ? 4 : 0);
      const failed = minute === 11 ? 3 : 0;
      return { start, answered: count - failed, failed };
    });
    await route.fulfill({ response, json: { minutes: spread } });
  });
}

// What the pages show is tested by their own tests.
test.skipIf(withoutBrowser || process.env['UPDATE_PICTURES'] !== '1')(
  'each page has its picture',
  async () => {
    const services = await servicesWithRealDay();
    for (const [name, { shows, height, ...options }] of Object.entries(pictures)) {
      const page = await openPage(services, { ...options, context: { viewport: { width: 1280, height } } });
      if (name.startsWith('overview')) {
        await spreadTurns(page);
        await page.reload();
      }
      await page.locator(shows).first().waitFor();
      // The table and the figures come by calls of their own.
      await page.waitForTimeout(1_000);
      const path = join(folder, `${name}.png`);
      await page.screenshot({ path, animations: 'disabled' });
      shrink(path);
      await page.context().close();
    }
  },
);

/** With 256 colours: a quarter of the bytes. */
function shrink(path: string): void {
  const { status, error } = spawnSync('pngquant', ['--force', '--strip', '--output', path, '256', path]);
  expect(status, `pngquant has to be installed: ${error}`).toBe(0);
}

test('the pictures are small, each is shown somewhere, and those that are shown exist', () => {
  const kept = globSync('*.png', { cwd: folder }).sort();
  expect(kept).toEqual(
    Object.keys(pictures)
      .map((name) => `${name}.png`)
      .sort(),
  );
  for (const name of kept) expect(statSync(join(folder, name)).size, name).toBeLessThan(150_000);
  const pages = [...globSync('docs/*.md', { cwd: root }), 'README.md', 'README.zh-CN.md'];
  const shown = pages.flatMap((page) =>
    [...readFileSync(join(root, page), 'utf8').matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map(([, to = '']) =>
      basename(to),
    ),
  );
  expect([...new Set(shown)].sort()).toEqual(kept);
});
