import { execFile, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

/**
 * Packs the package, installs the tarball from the registry into empty folders with each Node that it is for, and uses it
 * there as an operator would: serve, a turn, the page, status, backup, stop, restore.
 */

const nodes = ['24', '26'];
const root = resolve(import.meta.dirname, '..');
const run = promisify(execFile);
const scratch = mkdtempSync(join(tmpdir(), 'warp2api-try-'));

chmodSync(scratch, 0o755);
try {
  await run('npm', ['pack', '--silent', '--pack-destination', scratch], { cwd: root });
  const tarball = join(scratch, readdirSync(scratch).find((name) => name.endsWith('.tgz')) ?? 'no tarball');
  for (const node of nodes) await tryWith(node, tarball);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

async function tryWith(major: string, tarball: string): Promise<void> {
  const folder = join(scratch, `node-${major}`);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{"private": true}');
  const npm = (...words: string[]) => run('npm', words, { cwd: folder, maxBuffer: 16 * 1024 * 1024 });
  await npm('install', '--no-audit', '--no-fund', '--loglevel=error', tarball);
  const { stdout: size } = await run('du', ['-sm', join(folder, 'node_modules')]);
  const { stdout: tree } = await npm('ls', '--all', '--parseable');
  // Beside it, as `npx -p node@26 -p warp2api` does.
  await npm('install', '--no-audit', '--no-fund', '--loglevel=error', `node@${major}`);

  // As a user to whom neither the folder it is started in nor the package itself is to write to.
  const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  const empty = join(folder, 'empty');
  const home = join(folder, 'home');
  mkdirSync(home);
  mkdirSync(empty, { mode: 0o555 });
  if (user.uid !== undefined) chownSync(home, user.uid, user.gid);
  const program = join(folder, 'node_modules', '.bin', 'warp2api');
  const env = {
    PATH: `${join(folder, 'node_modules', '.bin')}:${process.env['PATH']}`,
    HOME: home,
    PORT: '0',
    POOL_SERVICE_PORT: '0',
    LOG_FORMAT: 'json',
  };
  const { stdout: version } = await run('node', ['--version'], { env });
  if (!version.startsWith(`v${major}.`)) throw new Error(`Node ${major} was to be used, and ${version} was.`);

  const service = spawn(program, ['serve'], {
    ...user,
    cwd: empty,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<number | null>((resolve) => service.once('exit', resolve));
  try {
    const gateway = await listeningAt(service.stdout, 'the gateway listens');
    const answer = await fetch(`${gateway}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] }),
    });
    if (!answer.ok) throw new Error(`A turn was answered ${answer.status}: ${await answer.text()}`);
    await answer.arrayBuffer();
    const page = await fetch(`${gateway}/admin`);
    if (!page.ok || !(await page.text()).includes('<script'))
      throw new Error(`The admin page was answered ${page.status}.`);
    const { stdout: status } = await run(program, ['status', '--json'], { ...user, cwd: empty, env });
    if (JSON.parse(status).sandbox !== true) throw new Error(`The status is not as expected: ${status}`);
    await run(program, ['backup', join(home, 'kept')], { ...user, cwd: empty, env });
  } finally {
    service.kill('SIGTERM');
  }
  const code = await exited;
  if (code !== 0) throw new Error(`After SIGTERM it exited with ${code}.`);
  const restored = { ...env, DATA_DIR: join(home, 'restored') };
  mkdirSync(restored.DATA_DIR);
  copyFileSync(join(home, '.local/share/warp2api/master.key'), join(restored.DATA_DIR, 'master.key'));
  await run(program, ['restore', join(home, 'kept')], { cwd: empty, env: restored });
  const data = readdirSync(join(home, '.local', 'share', 'warp2api'));
  for (const name of ['accounts.db', 'master.key']) {
    if (!data.includes(name)) throw new Error(`${name} is not in the user's data folder: ${data}.`);
  }
  if (readdirSync(empty).length > 0) throw new Error('It wrote where it was started.');
  const packages = tree.trim().split('\n').length - 1;
  console.log(
    `Node ${version.trim()}: served a turn; ${packages} packages, ${size.split('\t')[0]} MB installed.`,
  );
}

/** The address that a line of its log names. */
async function listeningAt(output: NodeJS.ReadableStream, message: string): Promise<string> {
  for await (const line of createInterface({ input: output })) {
    const said = JSON.parse(line) as { msg: string; url?: string };
    if (said.msg === message && said.url !== undefined) {
      output.resume();
      return said.url;
    }
  }
  throw new Error('It ended before it listened.');
}
