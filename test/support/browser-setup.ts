import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { BrowserServer } from 'playwright-core';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    browserSocket: string;
    /** Why there is no browser; empty where there is one. */
    browserFault: string;
  }
}

const root = resolve(import.meta.dirname, '../..');

/**
 * Before the tests: a socket at which they get the address of the Chromium that they share. It starts, and the admin page is
 * built if it is older than its sources, when the first one asks.
 */
export default function setup(project: TestProject): (() => Promise<void>) | undefined {
  const path = [process.env['CHROMIUM_PATH'], '/usr/bin/chromium'].find((one) => one && existsSync(one));
  const fault = path === undefined ? 'Chromium is not installed: set CHROMIUM_PATH to one that is.' : '';
  project.provide('browserFault', fault);
  project.provide('browserSocket', '');
  if (path === undefined) {
    if (process.env['REQUIRE_BROWSER'] === '1') throw new Error(fault);
    console.log(`The tests of the admin page are skipped. ${fault}`);
    return undefined;
  }
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-browser-'));
  let browser: Promise<BrowserServer> | undefined;
  const socket = createServer(async (connection) => {
    connection.on('error', () => {});
    browser ??= startBrowser(path);
    connection.end(await browser.then((started) => started.wsEndpoint(), String));
  });
  const socketPath = join(folder, 'browser.sock');
  socket.listen(socketPath);
  project.provide('browserSocket', socketPath);
  return async () => {
    socket.close();
    await browser?.then((started) => started.close());
    rmSync(folder, { recursive: true, force: true });
  };
}

async function startBrowser(executablePath: string): Promise<BrowserServer> {
  buildPage();
  const { chromium } = await import('playwright-core');
  return chromium.launchServer({
    executablePath,
    // As root, and in a container, it has no sandbox of its own.
    chromiumSandbox: false,
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--disable-component-update',
      '--disable-sync',
      '--font-render-hinting=none',
    ],
  });
}

function buildPage(): void {
  const built = statSync(join(root, 'dist/web/index.html'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = globSync(['web/**/*', 'package-lock.json'], { cwd: root }).map((file) => join(root, file));
  if (sources.every((file) => statSync(file).mtimeMs < built)) return;
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/build.js'), '--page']);
  if (status !== 0) throw new Error(`The admin page cannot be built: ${stderr}`);
}
