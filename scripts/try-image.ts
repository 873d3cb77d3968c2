import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/**
 * Carries out the Dockerfile without Docker: its RUN and COPY lines in a root of their own, which has nothing of the checkout
 * but what .dockerignore lets in, and then what the image runs, as its user, with a read-only root. The base image is played by
 * the system folders of this machine and the Node of node_modules, so that it shows that the steps are right, but neither that
 * the base image has what they need nor how large the image is. Linux, as root, with the npm registry.
 */

const root = resolve(import.meta.dirname, '..');
const innerMark = '--inside';
const systemFolders = ['bin', 'sbin', 'lib', 'lib64', 'usr', 'etc', 'dev'];

interface Step {
  readonly word: string;
  readonly text: string;
}
interface Stage {
  readonly name: string;
  readonly folder: string;
  workdir: string;
  user: string;
  readonly env: Record<string, string>;
  entrypoint: readonly string[];
  command: readonly string[];
  health: readonly string[];
}

if (process.argv[2] === innerMark) await build(process.argv[3] as string);
else startInside();

/** In a space of mounts of its own, which end with it. */
function startInside(): void {
  const scratch = mkdtempSync(join(tmpdir(), 'warp2api-image-'));
  try {
    const self = [process.execPath, import.meta.filename, innerMark, scratch];
    const { status } = spawnSync('unshare', ['--mount', ...self], { stdio: 'inherit' });
    process.exitCode = status ?? 1;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function build(scratch: string): Promise<void> {
  const stages: Stage[] = [];
  for (const { word, text } of steps(readFileSync(join(root, 'Dockerfile'), 'utf8'))) {
    const stage = stages.at(-1);
    if (word === 'FROM') stages.push(newStage(scratch, text, stages.length));
    else if (stage) carryOut({ word, text }, stage, stages);
  }
  const image = stages.at(-1);
  if (image === undefined) throw new Error('The Dockerfile has no stage.');
  const { stdout: size } = spawnSync('du', ['-sm', join(image.folder, 'app')], { encoding: 'utf8' });
  console.log(`The image adds ${size.split('\t')[0]} MB to its base.`);
  await tryOut(image, scratch);
}

/** The instructions, with lines that go on joined. */
function steps(text: string): Step[] {
  const lines = text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n');
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, word = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
      return { word, text: rest };
    });
}

function newStage(scratch: string, text: string, number: number): Stage {
  const [image = '', , name = String(number)] = text.replace(/^--platform=\S+\s+/, '').split(/\s+/);
  if (!image.startsWith('node:')) throw new Error(`It is not known how to play ${image}.`);
  const folder = join(scratch, `stage-${name}`);
  mkdirSync(folder);
  for (const one of systemFolders) {
    mkdirSync(join(folder, one));
    run('mount', ['--rbind', '-o', 'ro', realpathSync(`/${one}`), join(folder, one)]);
  }
  for (const one of ['proc', 'tmp', 'root', 'run']) mkdirSync(join(folder, one));
  run('mount', ['-t', 'proc', 'proc', join(folder, 'proc')]);
  layNode(join(scratch, `local-${name}`), join(folder, 'usr/local'));
  const env = { PATH: '/usr/local/bin:/usr/bin:/bin' };
  return { name, folder, workdir: '/', user: '0:0', env, entrypoint: [], command: [], health: [] };
}

/** /usr/local as the image has it: Node and npm. */
function layNode(local: string, place: string): void {
  const npm = dirname(dirname(realpathSync(which('npm'))));
  mkdirSync(join(local, 'bin'), { recursive: true });
  cpSync(process.execPath, join(local, 'bin/node'));
  cpSync(npm, join(local, 'lib/node_modules/npm'), { recursive: true });
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin/npm'));
  run('mount', ['--bind', local, place]);
}

function which(program: string): string {
  const path = (process.env['PATH'] ?? '').split(':').map((part) => join(part, program));
  const found = path.find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${program} is not on the PATH.`);
  return found;
}

function carryOut({ word, text }: Step, stage: Stage, stages: readonly Stage[]): void {
  switch (word) {
    case 'WORKDIR':
      stage.workdir = resolve(stage.workdir, text);
      mkdirSync(join(stage.folder, stage.workdir), { recursive: true });
      return;
    case 'COPY':
      copy(text, stage, stages);
      return;
    case 'RUN': {
      console.log(`RUN ${text}`);
      const { command, words } = inside(stage, ['/bin/sh', '-c', text]);
      // As Docker hands the proxies of the one who builds to RUN lines.
      run(command, words, { ...stage.env, HOME: '/root', ...registrySettings() });
      return;
    }
    case 'ENV':
      for (const [, name = '', value = ''] of text.matchAll(/(\w+)=(\S+)/g)) stage.env[name] = value;
      return;
    case 'USER':
      stage.user = text;
      return;
    case 'ENTRYPOINT':
      stage.entrypoint = JSON.parse(text) as string[];
      return;
    case 'CMD':
      stage.command = JSON.parse(text) as string[];
      return;
    case 'HEALTHCHECK':
      stage.health = JSON.parse(text.slice(text.indexOf('['))) as string[];
      return;
    case 'ARG':
    case 'LABEL':
    case 'VOLUME':
    case 'EXPOSE':
    case 'STOPSIGNAL':
      return;
    default:
      throw new Error(`It is not known how to carry out ${word}.`);
  }
}

function copy(text: string, stage: Stage, stages: readonly Stage[]): void {
  const words = text.split(/\s+/);
  const from = words[0]?.startsWith('--from=') ? words.shift()?.slice('--from='.length) : undefined;
  const source = stages.find(({ name }) => name === from)?.folder ?? root;
  const target = join(stage.folder, resolve(stage.workdir, words.at(-1) ?? ''));
  for (const name of words.slice(0, -1)) {
    if (source !== root) {
      const isInto = words.at(-1)?.endsWith('/');
      cpSync(join(source, name), isInto ? join(target, name.split('/').at(-1) ?? '') : target, {
        recursive: true,
        verbatimSymlinks: true,
      });
      continue;
    }
    const all = name === '.' ? readdirSync(root) : [name];
    for (const one of all.filter(isLetIn)) cpSync(join(root, one), join(target, one), { recursive: true });
  }
}

/** What .dockerignore says: all is left out but what it names. */
function isLetIn(name: string): boolean {
  const lines = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n');
  const rules = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (rules[0] !== '*' || rules.slice(1).some((rule) => !/^![\w.-]+$/.test(rule)))
    throw new Error('.dockerignore has a rule that is not read here.');
  return rules.includes(`!${name}`);
}

/** How this machine reaches the npm registry. */
function registrySettings(): NodeJS.ProcessEnv {
  const { stdout } = spawnSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8', cwd: tmpdir() });
  const isPassedOn = (name: string) => /_proxy$|^(NODE_EXTRA_CA_CERTS|SSL_CERT_FILE)$/i.test(name);
  const passedOn = Object.entries(process.env).filter(([name]) => isPassedOn(name));
  return { ...Object.fromEntries(passedOn), npm_config_registry: stdout.trim() };
}

function inside(stage: Stage, words: readonly string[]) {
  const enter = `cd ${stage.workdir} && exec "$@"`;
  return {
    command: '/usr/sbin/chroot',
    words: [`--userspec=${stage.user}`, stage.folder, '/bin/sh', '-c', enter, 'sh', ...words],
  };
}

function run(command: string, words: readonly string[], env: NodeJS.ProcessEnv = process.env): void {
  const { status, error } = spawnSync(command, words, { stdio: ['ignore', 'inherit', 'inherit'], env });
  if (status !== 0) throw error ?? new Error(`${command} ${words.join(' ')} ended with ${status}.`);
}

/** Runs what the image runs, as a container would: as process 1, with a read-only root and a volume at /data. */
async function tryOut(image: Stage, scratch: string): Promise<void> {
  const volume = join(scratch, 'volume');
  // As a folder of the host may be.
  mkdirSync(volume, { mode: 0o755 });
  chownSync(volume, 1000, 1000);
  run('mount', ['--rbind', image.folder, image.folder]);
  run('mount', ['-o', 'remount,bind,ro', image.folder]);
  run('mount', ['--bind', volume, join(image.folder, 'data')]);
  const [port = 0, poolPort = 0] = [await freePort(), await freePort()];
  const env = { ...image.env, PORT: String(port), POOL_SERVICE_PORT: String(poolPort) };

  const open = await ended(start(image, env, image.command));
  expect(
    open.code === 1 && open.said.includes('API_KEYS'),
    `without keys it does not listen beyond the container: ${JSON.stringify(open)}`,
  );

  const keys = { ...env, API_KEYS: 'a-key-of-a-client-0001', ADMIN_KEY: 'a-key-of-the-owner-0001' };
  const service = start(image, keys, image.command);
  const exited = ended(service);
  const execute = (words: readonly string[]) => executeIn(service, image, words, keys);
  const healthy = () => execute(image.health).status === 0;
  await until('it is healthy', healthy);
  const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${keys.API_KEYS}` },
    body: JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] }),
  });
  const text = await answer.text();
  // The sandbox is for gateways that this machine alone can reach: the turn is refused for want of an account.
  expect(answer.status === 503 && text.includes('no_account_available'), `a turn is answered: ${text}`);
  const status = execute(['warp2api', 'status', '--json']);
  expect(status.status === 0, `a command in it reaches the service: ${status.stderr}`);
  const backup = execute(['warp2api', 'backup', '/data/backup']);
  expect(backup.status === 0, `a backup is made: ${backup.stderr}`);

  const pid = childOf(service);
  process.kill(pid, 'SIGTERM');
  const end = await exited;
  expect(end.code === 0, `process 1 ends with 0 at SIGTERM: ${JSON.stringify(end)}`);
  const mode = statSync(volume).mode & 0o777;
  expect(mode === 0o700, `the volume is closed to other users: ${mode.toString(8)}`);

  chownSync(volume, 0, 0);
  const foreign = await ended(start(image, keys, image.command));
  expect(
    foreign.code === 1 && foreign.said.includes('/data'),
    `a volume of another user ends the start, and it is said which folder is meant: ${JSON.stringify(foreign)}`,
  );
}

/** A command in the container that runs, as by `docker exec`. */
function executeIn(
  service: ChildProcess,
  image: Stage,
  words: readonly string[],
  env: Record<string, string>,
) {
  const { command, words: all } = inside(image, words);
  const entered = ['--target', String(childOf(service)), '--pid', '--mount', command, ...all];
  return spawnSync('nsenter', entered, { env, encoding: 'utf8' });
}

function start(image: Stage, env: Record<string, string>, words: readonly string[]): ChildProcess {
  const { command, words: all } = inside(image, [...image.entrypoint, ...words]);
  const apart = ['--pid', '--fork', '--kill-child', `--mount-proc=${join(image.folder, 'proc')}`];
  return spawn('unshare', [...apart, command, ...all], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Its exit code, and what it wrote. */
async function ended(child: ChildProcess): Promise<{ code: number | null; said: string }> {
  let said = '';
  for (const output of [child.stdout, child.stderr]) {
    output?.on('data', (chunk) => {
      said += chunk;
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, said };
}

/** Process 1 of the space that `unshare` made. */
function childOf({ pid }: ChildProcess): number {
  const { stdout } = spawnSync('ps', ['--ppid', String(pid), '-o', 'pid='], { encoding: 'utf8' });
  return Number(stdout);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function until(what: string, look: () => boolean): Promise<void> {
  for (const end = Date.now() + 60_000; !look(); ) {
    if (Date.now() > end) throw new Error(`It did not come to pass that ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  console.log(`ok: ${what}`);
}

function expect(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(`It is not so that ${what}`);
  console.log(`ok: ${what.split(': ')[0]}`);
}
