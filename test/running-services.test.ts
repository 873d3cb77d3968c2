import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { findFreePort } from '../src/core/testing/free-port.ts';
import { linuxProcess } from '../src/lib/process/service-process.ts';
import { childEnvironment } from './support/process.ts';
import { eventually } from './support/services.ts';

const root = resolve(import.meta.dirname, '..');

/** An installation: the settings of its scripts and services, and the scripts to run. */
async function install() {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api running '));
  const [pool, gateway] = [await findFreePort(), await findFreePort()];
  const own: Record<string, string | undefined> = {
    ...childEnvironment,
    DATA_DIR: join(folder, 'data'),
    LOG_DIR: join(folder, 'logs'),
    PORT: String(gateway),
    POOL_SERVICE_PORT: String(pool),
  };
  const run = (script: string, extra: Record<string, string> = {}) =>
    new Promise<{ code: number; out: string; err: string }>((done) => {
      const options = { cwd: tmpdir(), env: { ...own, ...extra } };
      execFile(join(root, script), options, (error, out, err) =>
        done({ code: Number(error?.code ?? 0), out, err }),
      );
    });
  onTestFinished(async () => {
    await run('stop_services.sh');
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    own,
    pool: `http://127.0.0.1:${pool}`,
    gateway: `http://127.0.0.1:${gateway}`,
    start: (extra?: Record<string, string>) => run('start_services.sh', extra),
    stop: (extra?: Record<string, string>) => run('stop_services.sh', extra),
  };
}

test('services are found again with other settings, and what answers is said', async () => {
  const { own, pool, gateway, start, stop } = await install();
  const started = await start();
  expect(started).toMatchObject({ code: 0, err: '' });
  expect(started.out).toMatch(/the built-in sandbox answers.*\n {2}npx warp2api account add/);
  const elsewhere = { LOG_DIR: join(own['LOG_DIR'] ?? '', 'other'), PORT: '1' };
  expect((await start(elsewhere)).out).toContain(`warp2api is already running`);
  expect((await start({ USE_POOL_SERVICE: 'false' })).err).toMatch(
    /pool-service runs .*run \.\/stop_services\.sh first/,
  );
  expect((await start({ DATA_DIR: join(own['DATA_DIR'] ?? '', 'other') })).err).toMatch(
    /pool-service runs .* with another DATA_DIR .*run \.\/stop_services\.sh first/,
  );
  const stopped = await stop({ ...elsewhere, HOST: 'nonsense host', USE_POOL_SERVICE: 'false' });
  expect(stopped).toMatchObject({ code: 0, err: '' });
  expect(stopped.out.split('\n')).toEqual([
    expect.stringMatching(`^warp2api stopped \\(pid \\d+\\): ${gateway}\\.$`),
    expect.stringMatching(`^pool-service stopped \\(pid \\d+\\): ${pool}\\.$`),
    '',
  ]);
  expect(readdirSync(own['DATA_DIR'] ?? '').filter((name) => /^service|lock/.test(name))).toEqual([]);
});

test('a service that npm start runs is named by start_services.sh, and stopped by stop_services.sh', async () => {
  const { own, pool, gateway, start, stop } = await install();
  const npm = spawn('npm', ['start'], { cwd: root, env: own, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  npm.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const ended = once(npm, 'exit');
  onTestFinished(() => void npm.kill('SIGTERM'));
  // Its note is written when it listens.
  await eventually(
    'it runs',
    () =>
      output.includes('the gateway listens') &&
      existsSync(own['DATA_DIR'] ?? '') &&
      readdirSync(own['DATA_DIR'] ?? '').some((name) => name.startsWith('service.')),
  );
  expect(await start()).toMatchObject({ code: 0, out: expect.stringContaining(`${gateway} ${pool}\n`) });
  expect(await stop()).toMatchObject({
    code: 0,
    out: expect.stringContaining('which npm start had started.'),
  });
  expect(await ended).toEqual([0, null]);
  expect(await stop()).toEqual({ code: 0, out: 'Nothing was running.\n', err: '' });
});

test('equal ports are refused before anything starts', async () => {
  const { own, start } = await install();
  const { code, err } = await start({ POOL_SERVICE_PORT: own['PORT'] ?? '' });
  expect(code).toBe(1);
  expect(err).toMatch(
    /PORT and POOL_SERVICE_PORT are both \d+: give them different values\.\n.*nothing was started/,
  );
  expect(existsSync(own['DATA_DIR'] ?? '')).toBe(false);
});

test.runIf(process.platform === 'linux')(
  'a service of another checkout is left alone, and a dead one is forgotten',
  async () => {
    const { own, start, stop } = await install();
    const folder = own['DATA_DIR'] ?? '';
    mkdirSync(folder);
    const note = { pid: process.pid, service: 'both', root: '/elsewhere', urls: [], holdsPool: true };
    const write = (started: string) =>
      writeFileSync(join(folder, `service.${process.pid}.json`), JSON.stringify({ ...note, started }));
    write(linuxProcess(process.pid)?.started ?? '');
    expect(await start()).toMatchObject({
      code: 1,
      err: expect.stringContaining('a service of /elsewhere uses this DATA_DIR'),
    });
    expect(await stop()).toMatchObject({
      code: 0,
      out: 'Nothing of this checkout was running.\n',
      err: expect.stringMatching(/\/elsewhere .*: stop it there\.$/m),
    });
    write('another time');
    expect(await stop()).toEqual({ code: 0, out: 'Nothing was running.\n', err: '' });
  },
);

test('a start at work is ended by a stop, and the lock of one that was killed is no hindrance', async () => {
  const { own, start, stop } = await install();
  const folder = own['DATA_DIR'] ?? '';
  mkdirSync(folder);
  const waiting = ['-e', 'setInterval(() => {}, 60_000)', 'start_services.sh'];
  const atWork = spawn(process.execPath, waiting, { stdio: 'ignore' });
  onTestFinished(() => void atWork.kill());
  const ended = once(atWork, 'exit');
  symlinkSync(String(atWork.pid), join(folder, 'start.lock'));
  expect((await start()).err).toContain(`another start_services.sh is at work (pid ${atWork.pid})`);
  expect(await stop()).toMatchObject({
    code: 0,
    out: `start_services.sh was at work (pid ${atWork.pid}) and was ended.\n`,
  });
  expect(await ended).toEqual([null, 'SIGTERM']);
  rmSync(join(folder, 'start.lock'));
  symlinkSync(String(process.pid), join(folder, 'start.lock'));
  expect(await stop()).toMatchObject({ code: 0, out: 'Nothing was running.\n' });
  expect(await start()).toMatchObject({ code: 0, err: '' });
});

test.runIf(process.getuid?.() !== 0)(
  'a stop that cannot read DATA_DIR does not say that nothing runs',
  async () => {
    const { own, stop } = await install();
    const folder = own['DATA_DIR'] ?? '';
    mkdirSync(folder, { mode: 0 });
    expect(await stop()).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining(`${folder} cannot be read`),
    });
    chmodSync(folder, 0o700);
  },
);
