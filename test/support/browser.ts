import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { expect, inject, onTestFinished } from 'vitest';
import type { TestServices } from './services.ts';

/** The admin page in the Chromium that all tests of a run share. */

/** For `test.skipIf`: true where no Chromium is installed, unless REQUIRE_BROWSER is 1, which ends the run then. */
export const withoutBrowser: boolean = inject('browserFault') !== '';

export interface PageOptions {
  readonly language?: 'en' | 'zh';
  readonly theme?: 'light' | 'dark';
  /** `narrow` is a phone. */
  readonly size?: 'wide' | 'narrow';
  /** Of the gateway unless it says so. */
  readonly service?: 'gateway' | 'pool';
  /** What follows `/admin`, such as `#/accounts`. */
  readonly path?: string;
  readonly context?: BrowserContextOptions;
}

const sizes = { wide: { width: 1280, height: 860 }, narrow: { width: 390, height: 844 } };

let shared: Promise<Browser> | undefined;

/** Once for each worker. */
async function browser(): Promise<Browser> {
  shared ??= (async () => {
    const endpoint = await text(connect(inject('browserSocket')));
    if (!endpoint.startsWith('ws')) throw new Error(endpoint);
    const { chromium } = await import('playwright-core');
    return chromium.connect(endpoint);
  })();
  return shared;
}

/** Errors of pages whose test has not ended, by the page. */
const faults = new WeakMap<Page, string[]>();
const ignored = new WeakMap<Page, RegExp[]>();

/**
 * The admin page of these services in a window of its own, once it shows something. The test fails at its end on errors in the
 * console, which broken rules of the policy for content are as well, and on exceptions.
 */
export async function openPage(
  services: Pick<TestServices, 'gatewayUrl' | 'poolUrl'>,
  options: PageOptions = {},
): Promise<Page> {
  const { language = 'en', theme = 'light', size = 'wide', service = 'gateway', path = '' } = options;
  const context = await (await browser()).newContext({
    viewport: sizes[size],
    deviceScaleFactor: size === 'narrow' ? 2 : 1.5,
    locale: language === 'zh' ? 'zh-CN' : 'en-GB',
    timezoneId: 'Europe/Berlin',
    colorScheme: theme,
    reducedMotion: 'reduce',
    ...options.context,
  });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const found: string[] = [];
  faults.set(page, found);
  page.on('console', (message) => {
    if (message.type() === 'error') found.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => found.push(String(error.stack ?? error)));
  onTestFinished(async () => {
    // A request that a route still holds goes on without it: what the route would do then is refused by a closed page.
    for (const open of context.pages()) await open.unrouteAll({ behavior: 'ignoreErrors' });
    await context.close();
    const meant = ignored.get(page) ?? [];
    expect(
      found.filter((fault) => !meant.some((pattern) => pattern.test(fault))),
      'errors in the console',
    ).toEqual([]);
  });
  await page.goto(`${service === 'gateway' ? services.gatewayUrl : services.poolUrl}/admin${path}`);
  await page.locator('main').waitFor();
  return page;
}

/**
 * Takes these errors as meant, such as the browser's own line for an answer with status 401; each has to be there. More of them
 * may follow: a page has several calls under way.
 */
export async function expectFaults(page: Page, ...patterns: RegExp[]): Promise<void> {
  const found = faults.get(page) ?? [];
  for (const pattern of patterns) {
    await expect
      .poll(() => found.some((fault) => pattern.test(fault)), { message: String(pattern) })
      .toBe(true);
    found.splice(0, found.length, ...found.filter((fault) => !pattern.test(fault)));
    ignoreFaults(page, pattern);
  }
}

/** From now on the page may have errors like this: it is a matter of time whether it does. */
export function ignoreFaults(page: Page, pattern: RegExp): void {
  ignored.set(page, [...(ignored.get(page) ?? []), pattern]);
}

interface AxeResults {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string;
    readonly help: string;
    readonly nodes: readonly { readonly target: readonly string[]; readonly failureSummary: string }[];
  }[];
}

/** Fails on faults that axe takes for serious or critical. */
export async function expectAccessible(page: Page): Promise<void> {
  const { default: axe } = await import('axe-core');
  // Through the debugger's door: the page's own policy lets in no script of others.
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate(`axe.run({ resultTypes: ['violations'] })`)) as AxeResults;
  const serious = violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => ({
      id,
      help,
      at: nodes.map(({ target, failureSummary }) => `${target.join(' ')}: ${failureSummary}`),
    }));
  expect(serious).toEqual([]);
}

/**
 * A picture of the window, or of all of the page, for people to look at: none is taken without a PICTURES_DIR to put it.
 * Those of the documentation are made by test/pictures.test.ts.
 */
export async function snapshot(
  page: Page,
  name: string,
  options: { readonly isWhole?: boolean } = {},
): Promise<void> {
  const folder = process.env['PICTURES_DIR'];
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.png`);
  await page.screenshot({ path, fullPage: options.isWhole === true, animations: 'disabled' });
}
