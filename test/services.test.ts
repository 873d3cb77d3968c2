import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findFreePort } from '../src/core/testing/free-port.ts';

const root = join(import.meta.dirname, '..');

/** Replaces the program: the same command line, services that leave a note while they run and only answer /health. */
const stubMain = `
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
const [command, mode] = process.argv.slice(2);
const { POOL_PORT, GATEWAY_PORT, LOG_DIR = 'logs', USE_POOL_SERVICE = 'true', FAULT } = process.env;
const url = (port) => 'http://127.0.0.1:' + port;
mkdirSync('data', { recursive: true });
const isRunning = ({ pid }) => {
  try {
    return !readFileSync('/proc/' + pid + '/stat', 'utf8').includes(') Z ');
  } catch {
    return false;
  }
};
const services = () =>
  readdirSync('data').filter((name) => name.endsWith('.note'))
    .map((name) => JSON.parse(readFileSync('data/' + name, 'utf8'))).filter(isRunning);
if (command === 'config') {
  if (FAULT === 'config') {
    console.error('PORT must be a number');
    process.exitCode = 1;
  } else {
    console.log(JSON.stringify({
      poolUrl: url(POOL_PORT), gatewayUrl: url(GATEWAY_PORT), usePoolService: USE_POOL_SERVICE === 'true',
      logDir: LOG_DIR, dataDir: 'data', services: services(),
    }));
  }
} else if (FAULT === mode) {
  console.error(mode + ' has no key file');
  process.exitCode = 1;
} else {
  process.on('SIGTERM', () => {
    console.log('stopped ' + mode);
    process.exit(0);
  });
  console.log('started ' + mode);
  const urls = [url(mode === 'pool' ? POOL_PORT : GATEWAY_PORT)];
  const note = { pid: process.pid, service: mode, holdsPool: mode === 'pool', urls };
  writeFileSync('data/' + process.pid + '.note', JSON.stringify(note));
  createServer((_request, response) => response.end('{}')).listen(mode === 'pool' ? POOL_PORT : GATEWAY_PORT, '127.0.0.1');
}
`;

let folder = '';
let environment: NodeJS.ProcessEnv = {};

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api services '));
  for (const name of ['bin', 'scripts/services.sh', 'start_services.sh', 'stop_services.sh']) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  writeFileSync(join(folder, 'package.json'), '{"name":"warp2api","type":"module"}');
  mkdirSync(join(folder, 'src'));
  writeFileSync(join(folder, 'src', 'main.ts'), stubMain);
  mkdirSync(join(folder, 'node_modules', 'node', 'bin'), { recursive: true });
  writeFileSync(join(folder, 'node_modules', 'node', 'package.json'), '{"name":"node"}');
  symlinkSync(process.execPath, join(folder, 'node_modules', 'node', 'bin', 'node'));
  const [pool, gateway] = [await findFreePort(), await findFreePort()];
  environment = { PATH: process.env['PATH'], POOL_PORT: String(pool), GATEWAY_PORT: String(gateway) };
});

afterEach(() => {
  run('stop_services.sh');
  rmSync(folder, { recursive: true, force: true });
});

function run(script: string, extra: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(join(folder, script), {
    cwd: tmpdir(),
    env: { ...environment, ...extra },
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** The process a pid file names, if it lives. */
function pidIn(name: string): number | undefined {
  const file = join(folder, 'logs', name);
  if (!existsSync(file)) return undefined;
  const pid = Number(readFileSync(file, 'utf8'));
  return isAlive(pid) ? pid : undefined;
}

/** One that has ended but was not collected by its parent does not count. */
function isAlive(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-p', String(pid), '-o', 'stat='], { encoding: 'utf8' });
  return /^[^Z\s]/.test(stdout.trim());
}

describe('start_services.sh and stop_services.sh', () => {
  it('ask the services directly where Node was told to use a proxy', () => {
    const proxied = {
      NODE_USE_ENV_PROXY: '1',
      HTTP_PROXY: 'http://127.0.0.1:1',
      http_proxy: 'http://127.0.0.1:1',
    };
    expect(run('start_services.sh', proxied)).toMatchObject({ status: 0, stderr: '' });
    expect(run('start_services.sh', proxied).stdout).toContain('is already running');
  });

  it('start both services in the background and stop them again', () => {
    const started = run('start_services.sh');
    expect(started).toMatchObject({ status: 0, stderr: '' });
    expect(started.stdout).toContain(`http://127.0.0.1:${environment['POOL_PORT']}`);
    expect(started.stdout).toContain(`http://127.0.0.1:${environment['GATEWAY_PORT']}`);
    const pids = [pidIn('pool-service.pid'), pidIn('warp2api.pid')];
    expect(pids).toEqual([expect.any(Number), expect.any(Number)]);

    const again = run('start_services.sh');
    expect(again.status).toBe(0);
    expect(again.stdout.match(/already running/g)).toHaveLength(2);
    expect([pidIn('pool-service.pid'), pidIn('warp2api.pid')]).toEqual(pids);

    const stopped = run('stop_services.sh');
    expect(stopped.status).toBe(0);
    expect(stopped.stdout).toMatch(/warp2api stopped.*\npool-service stopped/);
    expect(pids.filter((pid) => pid !== undefined && isAlive(pid))).toEqual([]);
    expect(existsSync(join(folder, 'logs', 'warp2api.pid'))).toBe(false);
    expect(readFileSync(join(folder, 'logs', 'warp2api.log'), 'utf8')).toBe(
      'started gateway\nstopped gateway\n',
    );
    expect(run('stop_services.sh')).toMatchObject({ status: 0, stdout: 'Nothing was running.\n' });
  });

  it('keep logs and pid files to their owner, under any umask and in a folder that was open', () => {
    const logs = join(folder, 'logs');
    mkdirSync(logs);
    writeFileSync(join(logs, 'warp2api.log'), 'from before\n');
    chmodSync(join(logs, 'warp2api.log'), 0o644);
    chmodSync(logs, 0o777);
    const started = spawnSync('sh', ['-c', `umask 000; exec '${join(folder, 'start_services.sh')}'`], {
      cwd: tmpdir(),
      env: environment,
    });
    expect(started.status).toBe(0);
    const open = ['.', ...readdirSync(logs)].filter(
      (name) => (statSync(join(logs, name)).mode & 0o077) !== 0,
    );
    expect(open).toEqual([]);
  });

  it('do not close a folder of logs that others need', () => {
    const home = join(folder, 'homes', 'me');
    mkdirSync(home, { recursive: true });
    for (const [logs, isClosed] of [
      [join(folder, 'homes'), false],
      [home, false],
      [folder, false],
      [join(home, 'logs'), true],
    ] as const) {
      mkdirSync(logs, { recursive: true });
      chmodSync(logs, 0o755);
      expect(run('start_services.sh', { LOG_DIR: logs, HOME: home }).status).toBe(0);
      expect(statSync(logs).mode & 0o777).toBe(isClosed ? 0o700 : 0o755);
      expect(run('stop_services.sh', { LOG_DIR: logs, HOME: home }).status).toBe(0);
    }
  });

  it('start the gateway alone when the pool runs inside it', () => {
    expect(run('start_services.sh', { USE_POOL_SERVICE: 'false' }).status).toBe(0);
    expect([pidIn('pool-service.pid'), pidIn('warp2api.pid')]).toEqual([undefined, expect.any(Number)]);
  });

  it('leave nothing running when one service fails, and show why', () => {
    const { status, stderr } = run('start_services.sh', { FAULT: 'gateway' });
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /warp2api did not start; the end of .*warp2api\.log:\n {2}gateway has no key file\n/,
    );
    expect([pidIn('pool-service.pid'), pidIn('warp2api.pid')]).toEqual([undefined, undefined]);
    expect(run('start_services.sh').status).toBe(0);
  });

  it('say so when another program has the port', async () => {
    const other = createServer((_request, response) => response.end('{}'));
    await new Promise<void>((resolve) =>
      other.listen(Number(environment['POOL_PORT']), '127.0.0.1', resolve),
    );
    // spawnSync would keep this process, and with it the other program, from answering.
    const child = spawn(join(folder, 'start_services.sh'), { env: environment });
    let text = '';
    child.stderr.on('data', (chunk) => {
      text += chunk;
    });
    const status = await new Promise((resolve) => child.on('close', resolve));
    await new Promise((resolve) => other.close(resolve));
    expect(status).toBe(1);
    expect(text).toMatch(/pool-service cannot start: another program listens at http/);
  });

  it('start nothing on a faulty configuration, and pass on what is wrong with it', () => {
    const { status, stderr } = run('start_services.sh', { FAULT: 'config' });
    expect(status).toBe(1);
    expect(stderr).toMatch(/PORT must be a number\nstart_services: nothing was started/);
  });

  it('stop even when the configuration has become faulty', () => {
    run('start_services.sh');
    expect(run('stop_services.sh', { FAULT: 'config' }).stdout).toMatch(/pool-service stopped/);
  });

  it('do not take a foreign process for ours when a pid was used again', () => {
    mkdirSync(join(folder, 'logs'));
    writeFileSync(join(folder, 'logs', 'warp2api.pid'), `${process.pid}\n`);
    expect(run('stop_services.sh').stdout).toBe('Nothing was running.\n');
    writeFileSync(join(folder, 'logs', 'warp2api.pid'), `${process.pid}\n`);
    expect(run('start_services.sh').status).toBe(0);
    expect(pidIn('warp2api.pid')).not.toBe(process.pid);
  });

  it('notice that a service was killed, and start that one alone', () => {
    run('start_services.sh');
    const pool = pidIn('pool-service.pid');
    process.kill(pidIn('warp2api.pid') ?? 0, 'SIGKILL');
    const { status, stdout } = run('start_services.sh');
    expect(status).toBe(0);
    expect(stdout).toMatch(/pool-service is already running.*\nwarp2api runs/);
    expect(pidIn('pool-service.pid')).toBe(pool);
  });

  it('say to install first when there are no dependencies', () => {
    rmSync(join(folder, 'node_modules'), { recursive: true });
    const { status, stderr } = run('start_services.sh');
    expect([status, stderr]).toEqual([
      1,
      'start_services: run npm ci first: the dependencies are not installed.\n',
    ]);
  });
});

describe('bin/warp2api.js on an old Node', () => {
  const bin = () => join(folder, 'bin', 'warp2api.js');

  /** Makes the Node that runs it claim to be version 20; the one it hands over to is itself again. */
  function pretendOldNode(): string[] {
    const shim = join(folder, 'old-node.cjs');
    writeFileSync(shim, `Object.defineProperty(process, 'versions', { value: { node: '20.1.0' } });`);
    return ['--require', shim];
  }

  function installNode(text: string): void {
    const file = join(folder, 'node_modules', 'node', 'bin', 'node');
    rmSync(file);
    writeFileSync(file, `#!/bin/sh\n${text}\n`);
    chmodSync(file, 0o755);
  }

  it('hands over to the Node of node_modules with arguments, output and exit code', () => {
    installNode('echo "$1, arenas: $MALLOC_ARENA_MAX"; shift 2; echo "handed over: $*"; exit 7');
    const { status, stdout } = spawnSync(process.execPath, [...pretendOldNode(), bin(), 'serve', 'pool'], {
      encoding: 'utf8',
    });
    const text = '--max-semi-space-size=8, arenas: 2\nhanded over: serve pool\n';
    expect([status, stdout]).toEqual([7, text]);
  });

  it('passes SIGTERM on and ends as the program does', async () => {
    installNode(`exec "${process.execPath}" "$@"`);
    const child = spawn(process.execPath, [...pretendOldNode(), bin(), 'serve', 'pool'], {
      env: environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
      if (text === 'started pool\n') child.kill('SIGTERM');
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect([code, text]).toEqual([0, 'started pool\nstopped pool\n']);
  });

  it('says what to do when there is no newer Node', () => {
    rmSync(join(folder, 'node_modules', 'node'), { recursive: true });
    const { status, stderr } = spawnSync(process.execPath, [...pretendOldNode(), bin(), 'serve'], {
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/needs Node 24 or newer.*Run npm ci/);
  });
});
