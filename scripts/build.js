// Builds dist/: what tsc emits, the files it passes over (generated code, migrations), and the admin page.
// Plain JavaScript, because `npm ci` runs it with whatever Node npm finds.
//   --if-possible: no complaint where TypeScript is not installed, no check of types (the `check` script does that).
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const isQuick = process.argv.includes('--if-possible');
// npm runs both `prepack`, which builds all with its types checked, and then `prepare`.
if (isQuick && ['pack', 'publish'].includes(process.env.npm_command)) process.exit();
/** The admin page alone, as the tests of it need it. */
const isPageOnly = process.argv.includes('--page');

const compiler = findCompiler();
if (isPageOnly) await inPlaceOf('dist/web', buildPage);
else if (compiler !== undefined) await inPlaceOf('dist', (staging) => build(compiler, staging));
else if (isQuick)
  console.log('TypeScript is not installed: dist/ was not built. A checkout runs without it.');
else fail('TypeScript is not installed: run npm ci first.');

/** Built beside and moved into place, so that no reader sees half of it. */
async function inPlaceOf(folder, fill) {
  const scratch = join(root, '.tmp');
  mkdirSync(scratch, { recursive: true });
  const staging = mkdtempSync(join(scratch, 'build-'));
  try {
    if (!(await fill(staging))) return;
    // The service may run as another user than the one who built it.
    chmodSync(staging, 0o755);
    mkdirSync(dirname(join(root, folder)), { recursive: true });
    rmSync(join(root, folder), { recursive: true, force: true });
    renameSync(staging, join(root, folder));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

async function build(tsc, staging) {
  const words = [
    '-p',
    join(root, 'tsconfig.build.json'),
    '--outDir',
    staging,
    ...(isQuick ? ['--noCheck'] : []),
  ];
  const { status } = spawnSync(process.execPath, [tsc, ...words], { cwd: root, stdio: 'inherit' });
  if (status !== 0) return fail('tsc found faults: dist/ was not built.');
  for (const folder of ['src', 'sandbox']) copyOtherFiles(folder, staging);
  pointAtJavaScript(staging);
  return buildPage(join(staging, 'web'));
}

/** The admin page, with a compressed copy of each file beside it. */
async function buildPage(folder) {
  try {
    const { build: buildWith } = await import('vite');
    const configFile = join(root, 'web', 'vite.config.ts');
    await buildWith({ configFile, logLevel: 'warn', build: { outDir: folder, emptyOutDir: true } });
  } catch (error) {
    const fault = `The admin page was not built: ${error.message}`;
    if (!isQuick) return fail(fault);
    console.log(fault);
    return true;
  }
  for (const file of listFiles(folder)) {
    const bytes = readFileSync(file);
    writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 }));
    writeFileSync(
      `${file}.br`,
      brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
    );
  }
  return true;
}

function copyOtherFiles(folder, staging) {
  if (!existsSync(join(root, folder))) return;
  cpSync(join(root, folder), join(staging, folder), {
    recursive: true,
    filter: (file) => file.endsWith('.d.ts') || !/(^|\/)testing$|\.(ts|md|proto|yaml)$/.test(file),
  });
}

/** tsc rewrites imports only; a worker is named by `new URL('./worker.ts', import.meta.url)`. */
function pointAtJavaScript(folder) {
  for (const file of listFiles(folder)) {
    if (!file.endsWith('.js')) continue;
    const text = readFileSync(file, 'utf8');
    const pointed = text.replace(/(new URL\(\s*(['"])\.[^'"]+)\.ts(\2,\s*import\.meta\.url)/g, '$1.js$3');
    if (pointed !== text) writeFileSync(file, pointed);
    const left = /(['"])\.{1,2}\/[^'"\n]+(?<!\.d)\.ts\1/.exec(pointed);
    if (left) fail(`${relative(folder, file)} still names a TypeScript file: ${left[0]}`);
  }
}

function listFiles(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? listFiles(path) : [path];
  });
}

function findCompiler() {
  try {
    const manifest = createRequire(import.meta.url).resolve('typescript/package.json');
    const { bin } = JSON.parse(readFileSync(manifest, 'utf8'));
    return join(dirname(manifest), bin.tsc);
  } catch {
    return undefined;
  }
}

/** Says what is wrong. Answers false. */
function fail(message) {
  console.error(message);
  process.exitCode = 1;
  return false;
}
