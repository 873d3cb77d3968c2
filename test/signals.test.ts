import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { childEnvironment } from './support/process.ts';
import { eventually } from './support/services.ts';

const root = resolve(import.meta.dirname, '..');
const bin = join(root, 'bin', 'warp2api.js');
const node = process.execPath;

/** A service that `program` starts, itself or through others. It has a process group of its own, as a terminal gives. */
async function launch(program: string, words: readonly string[], extra: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-signals-'));
  const child = spawn(program, words, {
    cwd: root,
    env: { ...childEnvironment, DATA_DIR: folder, PORT: '0', POOL_SERVICE_PORT: '0', ...extra },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  // Closed once no process of all of them has the pipe any more: nothing is left then.
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  let isClosed = false;
  child.on('close', () => {
    isClosed = true;
  });
  onTestFinished(() => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    } catch {
      // All have ended.
    }
    rmSync(folder, { recursive: true, force: true });
  });
  const url = await eventually('the gateway listens', () => {
    if (isClosed) throw new Error(`it ended:\n${output}`);
    return /"url":"([^"]+)"[^\n]*the gateway listens/.exec(output)?.[1];
  });
  return { child, url, closed, output: () => output };
}

type Launched = Awaited<ReturnType<typeof launch>>;

/** Ends it with `end`, and answers how its first process ended and how often the service stopped. */
async function ending({ child, closed, output }: Launched, end: (child: ChildProcess) => unknown) {
  end(child);
  const [code, signal] = await closed;
  const times = (message: string) => output().split(`"msg":"${message}"`).length - 1;
  return { end: code ?? signal, stopping: times('stopping'), stopped: times('stopped') };
}

const toGroup = (signal: NodeJS.Signals) => (child: ChildProcess) => process.kill(-(child.pid ?? 0), signal);
const toParent = (signal: NodeJS.Signals) => (child: ChildProcess) => child.kill(signal);
const onlyOnce = { stopping: 1, stopped: 1 };

/** Options that make Node look like one that is too old; it hands over to the Node of node_modules, and stays beside it. */
function oldNode(): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-old-node-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const shim = join(folder, 'shim.cjs');
  const pretence = `Object.defineProperty(process, 'versions', { value: { node: '20.1.0' } }); process.execPath = __filename;`;
  writeFileSync(shim, `${pretence} process.execve = undefined;`);
  return ['--require', shim];
}

/** What npm does: a shell that runs the script, and signals passed on to it. */
const likeNpx = `
  const shell = require('node:child_process').spawn('sh', ['-c', process.argv[1]], {
    stdio: 'inherit', env: { ...process.env, npm_lifecycle_event: 'npx', npm_lifecycle_script: "'warp2api'" },
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => shell.kill(signal));
  shell.on('exit', (code) => { process.exitCode = code ?? 1; });
`;
/** As a shell that stays, which some do, and as one that the service replaces. */
const scripts = { stays: `"${node}" "${bin}" serve; exit $?`, replaced: `exec "${node}" "${bin}" serve` };

describe('a service', () => {
  it('stops on a hangup as on SIGTERM', async () => {
    const service = await launch(node, [bin, 'serve']);
    expect(await ending(service, toParent('SIGHUP'))).toEqual({ end: 0, ...onlyOnce });
  });

  it('ends at once on a second signal, also another one', async () => {
    const service = await launch(node, [bin, 'serve']);
    await unfinishedRequest(service.url);
    service.child.kill('SIGINT');
    await eventually('it stops', () => service.output().includes('"msg":"stopping"'));
    expect(await ending(service, toParent('SIGTERM'))).toEqual({ end: 'SIGTERM', stopping: 1, stopped: 0 });
  });

  it('goes on when the shell that it was started from ends', async () => {
    const service = await launch('sh', ['-c', `"${node}" "${bin}" serve & exit`]);
    expect((await fetch(`${service.url}/health`)).status).toBe(200);
    expect(await ending(service, toGroup('SIGTERM'))).toMatchObject(onlyOnce);
  });
});

describe('a service started by an older Node', () => {
  it('stops once on a signal to that Node', async () => {
    const service = await launch(node, [...oldNode(), bin, 'serve']);
    expect(await ending(service, toParent('SIGQUIT'))).toEqual({ end: 0, ...onlyOnce });
  });

  it('stops once on a signal to both, as from a terminal', async () => {
    const service = await launch(node, [...oldNode(), bin, 'serve']);
    await unfinishedRequest(service.url);
    expect(await ending(service, toGroup('SIGINT'))).toEqual({ end: 0, ...onlyOnce });
  });

  it('stops when that Node is killed', async () => {
    const service = await launch(node, [...oldNode(), bin, 'serve']);
    expect(await ending(service, toParent('SIGKILL'))).toEqual({ end: 'SIGKILL', ...onlyOnce });
  });
});

describe('a service started by npm', () => {
  it.each([
    ['SIGTERM', 'stays'],
    ['SIGKILL', 'stays'],
    ['SIGKILL', 'replaced'],
  ] as const)('stops once when npm gets %s, where its shell %s', async (signal, shell) => {
    const service = await launch(node, ['-e', likeNpx, scripts[shell]]);
    expect(await ending(service, toParent(signal))).toMatchObject(onlyOnce);
  });

  it('stops once on a signal to all, which npm passes on as well', async () => {
    const service = await launch(node, ['-e', likeNpx, scripts.replaced]);
    await unfinishedRequest(service.url);
    expect(await ending(service, toGroup('SIGINT'))).toMatchObject(onlyOnce);
  });

  it('stops when the npm of `npm start` is killed', async () => {
    const service = await launch('npm', ['start']);
    expect(await ending(service, toParent('SIGKILL'))).toMatchObject(onlyOnce);
  });
});

/** A request whose body does not come: a service that stops waits some seconds for it. */
async function unfinishedRequest(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => {});
  socket.write(
    'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n',
  );
  // It is being answered.
  await once(socket, 'data');
}
