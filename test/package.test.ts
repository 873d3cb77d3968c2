import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { servicesForTest } from './support/services.ts';

const root = join(import.meta.dirname, '..');
const run = promisify(execFile);
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  dependencies: Record<string, string>;
};

let folder = '';
let installed = '';

/** Whether dist/ was made from what is here, as after `npm run try-package`. */
function isBuilt(): boolean {
  const timeOf = (file: string) => statSync(join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const built = Math.min(timeOf('dist/src/main.js'), timeOf('dist/web/index.html'));
  const from = ['{src,sandbox,web}/**/*', 'scripts/build.js', 'tsconfig*.json', 'package-lock.json'];
  return globSync(from, { cwd: root }).every((file) => timeOf(file) < built);
}

/** Installs the packed tarball as npm would, with the dependencies of the checkout instead of downloads. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warp2api-package-'));
  installed = join(folder, 'node_modules', 'warp2api');
  mkdirSync(installed, { recursive: true });
  const words = [
    'pack',
    '--silent',
    '--pack-destination',
    folder,
    ...(isBuilt() ? ['--ignore-scripts'] : []),
  ];
  await run('npm', words, { cwd: root });
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? 'no tarball';
  await run('tar', ['-xzf', join(folder, tarball), '-C', installed, '--strip-components=1']);
  for (const name of Object.keys(manifest.dependencies)) {
    const link = join(folder, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), link);
  }
  mkdirSync(join(folder, 'node_modules', '@types'), { recursive: true });
  symlinkSync(join(root, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function runNode(...words: string[]) {
  return run(process.execPath, words, { cwd: folder });
}

/** This Node, and those on the path: the client library is for programs on any Node since 20. */
async function findNodes(): Promise<string[]> {
  const nodes = [process.execPath];
  for (const part of new Set(process.env['PATH']?.split(delimiter))) {
    const node = join(part, 'node');
    if (part.includes('node_modules') || !existsSync(node)) continue;
    const { stdout } = await run(node, ['--version']);
    if (Number(/^v(\d+)/.exec(stdout)?.[1]) >= 20) nodes.push(node);
  }
  return nodes;
}

describe('the packed package', () => {
  it('gives programs the client library', async () => {
    const program = `
      import { AccountPoolClient, PoolError } from 'warp2api/pool-client';
      const pool = new AccountPoolClient({ baseUrl: 'http://127.0.0.1:1', retries: 0 });
      const error = await pool.status().catch((error) => error);
      console.log(error instanceof PoolError, error.code);`;
    expect((await runNode('--input-type=module', '--eval', program)).stdout).toBe('true pool_unavailable\n');
  });

  it('gives it to programs on a Node that cannot ask for its modules by name, as before 20.16', async () => {
    const program = `
      delete process.getBuiltinModule;
      const { AccountPoolClient } = await import('warp2api/pool-client');
      console.log(typeof AccountPoolClient);`;
    expect((await runNode('--input-type=module', '--eval', program)).stdout).toBe('function\n');
  });

  it('gives TypeScript the types of the client library', async () => {
    const source = `
      import { AccountPoolClient, type LeasedAccount } from 'warp2api/pool-client';
      const pool = new AccountPoolClient();
      const session = await pool.allocate({ provider: 'warp', count: 2 });
      export const accounts: readonly LeasedAccount[] = session.accounts;
      // @ts-expect-error an unknown field is an error
      await pool.allocate({ colour: 'red' });`;
    writeFileSync(join(folder, 'program.ts'), source);
    const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2024'];
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    await runNode(compiler, ...options, '--types', 'node', '--lib', 'es2024,esnext.disposable', 'program.ts');
  });

  it('type-checks the examples, which then run on every Node from 20 on that this machine has', async () => {
    const examples = join(root, 'examples/typescript');
    for (const name of ['borrow.ts', 'block.ts']) cpSync(join(examples, name), join(folder, name));
    const options = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--outDir', 'built'];
    const types = ['--types', 'node', '--lib', 'es2024,esnext.disposable'];
    await runNode(
      join(root, 'node_modules/typescript/bin/tsc'),
      ...options,
      ...types,
      'borrow.ts',
      'block.ts',
    );

    const services = await servicesForTest();
    const id = await services.addAccount('wk-1.abc');
    const env = {
      PATH: process.env['PATH'],
      POOL_SERVICE_URL: services.poolUrl,
      PROVIDER_URL: services.upstream.url,
    };
    for (const node of await findNodes()) {
      const borrowed = await run(node, ['built/borrow.js'], { cwd: folder, env, timeout: 60_000 });
      expect(borrowed.stdout).toContain(`borrowed ${id} of warp`);
      expect(borrowed.stdout).toContain('the provider answered 200');
      const block = await run(node, ['built/block.js'], { cwd: folder, env, timeout: 60_000 });
      expect(block.stdout).toBe(`${id}: 100 turns\n`);
    }
    expect(await services.pool('/api/accounts/status')).toMatchObject({ active_sessions: 0 });
  });

  it('has a command that runs what was built', async () => {
    const { stdout } = await runNode(join(installed, 'bin/warp2api.js'), '--version');
    expect(stdout).toBe(`${manifest.version}\n`);
  });

  it('says on an old Node how npm brings a newer one', async () => {
    const shim = join(folder, 'old-node.cjs');
    writeFileSync(shim, `Object.defineProperty(process, 'versions', { value: { node: '20.1.0' } });`);
    const program = runNode('--require', shim, join(installed, 'bin/warp2api.js'), 'serve');
    await expect(program).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/needs Node 24 or newer.*npx -p node@26 -p warp2api warp2api\n$/),
    });
  });

  it('keeps its data in one place, wherever it is started, or where there is some already', async () => {
    const dataDirIn = async (cwd: string, environment: NodeJS.ProcessEnv = {}) => {
      const program = join(installed, 'bin/warp2api.js');
      const env = { PATH: process.env['PATH'], HOME: '/home/of-me', ...environment };
      const { stdout } = await run(process.execPath, [program, 'config', '--json'], { cwd, env });
      const { dataDir } = JSON.parse(stdout) as { dataDir: string };
      const stopped = await run(process.execPath, [program, 'config', '--services', '--json'], { cwd, env });
      expect(JSON.parse(stopped.stdout)).toMatchObject({ dataDir });
      return dataDir;
    };
    const place = mkdtempSync(join(folder, 'place-'));
    mkdirSync(join(place, 'data'));
    expect(await dataDirIn(place)).toBe('/home/of-me/.local/share/warp2api');
    expect(await dataDirIn(place, { XDG_DATA_HOME: '/srv' })).toBe('/srv/warp2api');
    expect(await dataDirIn(place, { DATA_DIR: 'mine' })).toBe(join(place, 'mine'));
    writeFileSync(join(place, 'data', 'master.key'), '');
    expect(await dataDirIn(place)).toBe(join(place, 'data'));
  });

  it('names its own manifest, and holds neither sources nor tests', async () => {
    const program = "console.log(import.meta.resolve('warp2api/package.json'))";
    expect((await runNode('--input-type=module', '--eval', program)).stdout).toMatch(/package\.json\n$/);
    expect(existsSync(join(installed, 'src'))).toBe(false);
    const files = readdirSync(join(installed, 'dist'), { recursive: true, encoding: 'utf8' });
    expect(files).toContain(join('src', 'pool-api', 'client.js'));
    expect(files.filter((file) => /\.(test|contract|fake)\./.test(file))).toEqual([]);
  });

  it('brings the files the compiler passes over', () => {
    const isPassedOver = (file: string) => /(^|\/)gen\/.*\.(js|d\.ts)$|\.sql$/.test(file);
    for (const part of ['src', 'sandbox']) {
      const wanted = readdirSync(join(root, part), { recursive: true, encoding: 'utf8' }).filter(
        isPassedOver,
      );
      const found = readdirSync(join(installed, 'dist', part), { recursive: true, encoding: 'utf8' });
      expect(found).toEqual(expect.arrayContaining(wanted));
    }
  });
});

it('is installed in a checkout with few words, also by an old Node', async () => {
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((part) => !part.includes('node_modules'));
  const options = { cwd: root, env: { ...process.env, PATH: path.join(delimiter) } };
  const { stdout, stderr } = await run('npm', ['ci', '--dry-run', '--ignore-scripts'], options);
  expect(`${stdout}${stderr}`.match(/^npm (warn|error).*/gim) ?? []).toEqual([]);
});
