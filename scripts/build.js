// Builds dist/: what tsc emits, and the files it passes over (generated code, migrations, pages).
// Plain JavaScript, because `npm ci` runs it with whatever Node npm finds.
//   --if-possible: no complaint where TypeScript is not installed, no check of types (the `check` script does that).
import { spawnSync } from 'node:child_process';
import {
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

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const isQuick = process.argv.includes('--if-possible');
// npm runs both `prepack`, which builds all with its types checked, and then `prepare`.
if (isQuick && ['pack', 'publish'].includes(process.env.npm_command)) process.exit();

const compiler = findCompiler();
if (compiler !== undefined) build(compiler);
else if (isQuick)
  console.log('TypeScript is not installed: dist/ was not built. A checkout runs without it.');
else fail('TypeScript is not installed: run npm ci first.');

function build(tsc) {
  // Built beside and moved into place, so that nobody sees half a dist/.
  const scratch = join(root, '.tmp');
  mkdirSync(scratch, { recursive: true });
  const staging = mkdtempSync(join(scratch, 'build-'));
  try {
    const words = [
      '-p',
      join(root, 'tsconfig.build.json'),
      '--outDir',
      staging,
      ...(isQuick ? ['--noCheck'] : []),
    ];
    const { status } = spawnSync(process.execPath, [tsc, ...words], { cwd: root, stdio: 'inherit' });
    if (status !== 0) return fail('tsc found faults: dist/ was not built.');
    for (const folder of ['src', 'sandbox', 'web']) copyOtherFiles(folder, staging);
    pointAtJavaScript(staging);
    rmSync(join(root, 'dist'), { recursive: true, force: true });
    renameSync(staging, join(root, 'dist'));
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
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

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}
