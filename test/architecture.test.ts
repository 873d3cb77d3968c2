import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** What each layer may import of the others. A layer is a folder of src, or a file that stands alone in it. */
const allowed: Record<string, readonly string[]> = {
  core: ['lib'],
  lib: [],
  settings: ['lib', 'providers'],
  'source-settings': ['core', 'lib'],
  'route-settings': ['core'],
  'config-file': ['core', 'lib', 'providers', 'route-settings', 'source-settings'],
  environment: ['core', 'lib', 'providers', 'settings'],
  config: ['lib', 'providers', 'config-file', 'environment', 'settings', 'source-settings'],
  'run-mode': ['lib', 'config', 'environment'],
  'pool-api': ['core', 'lib'],
  db: ['lib'],
  protocols: ['core', 'lib'],
  providers: ['core', 'lib', 'protocols'],
  pool: ['core', 'lib', 'db', 'pool-api', 'providers'],
  gateway: ['core', 'lib', 'db', 'pool-api', 'protocols', 'providers'],
  'import-config': ['lib', 'providers'],
  cli: ['core', 'lib', 'pool-api'],
  compose: [
    'core',
    'lib',
    'db',
    'pool-api',
    'protocols',
    'providers',
    'pool',
    'gateway',
    'config',
    'run-mode',
    'settings',
    'sandbox',
  ],
  doctor: ['core', 'lib', 'db', 'pool-api', 'providers', 'config', 'run-mode', 'compose'],
  main: ['cli', 'config', 'environment', 'run-mode', 'compose', 'doctor', 'import-config', 'lib'],
  sandbox: [],
};

/** Static, re-exporting, side-effect and dynamic imports, and files loaded by URL (worker threads). */
const importPatterns = [
  /\bfrom\s+'(\.[^']+)'/g,
  /\bimport\s+'(\.[^']+)'/g,
  /\bimport\(\s*['"`](\.[^'"`]+)['"`]/g,
  /new URL\(\s*['"`](\.[^'"`]+)['"`]/g,
];

function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !/\.(test|contract|fake|d)\.ts$/.test(name))
    .map((name) => join(folder, name));
}

function layerOf(file: string): string {
  const [top, second] = relative(root, file).split('/');
  if (top !== 'src') return top ?? '';
  return (second ?? '').replace(/\.(ts|js)$/, '');
}

function violations(file: string, text: string): string[] {
  const from = layerOf(join(root, file));
  const found: string[] = [];
  for (const pattern of importPatterns) {
    for (const [, target] of text.matchAll(pattern)) {
      const to = layerOf(resolve(dirname(join(root, file)), target ?? ''));
      if (to !== from && to !== 'package.json' && to !== '..' && !allowed[from]?.includes(to)) {
        found.push(`${file} imports ${target}: ${from} may import ${allowed[from]?.join(', ') || 'nothing'}`);
      }
    }
  }
  return found;
}

const files = [...sourceFiles('src'), ...sourceFiles('sandbox')];

test('every layer imports only what it may', () => {
  const layers = new Set(files.map((file) => layerOf(join(root, file))));
  expect([...layers].sort()).toEqual(Object.keys(allowed).sort());
  expect(files.length).toBeGreaterThan(60);
  expect(files.flatMap((file) => violations(file, readFileSync(join(root, file), 'utf8')))).toEqual([]);
});

test('the admin page takes only types from the services', () => {
  const pages = readdirSync(join(root, 'web/src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join('web/src', name));
  expect(pages.length).toBeGreaterThan(20);
  const isForeign = (file: string, target: string): boolean =>
    relative(join(root, 'web'), resolve(dirname(join(root, file)), target)).startsWith('..');
  const foreign = (file: string, text: string): string[] =>
    [...text.matchAll(/(?:^|\n)(?:import|export)(?! type\b)[^;]*?'(\.[^']+)'/g)]
      .map(([, target = '']) => target)
      .filter((target) => isForeign(file, target))
      .map((target) => `${file} imports ${target}`);
  expect(pages.flatMap((file) => foreign(file, readFileSync(join(root, file), 'utf8')))).toEqual([]);
  const planted = "import type { A } from '../../src/core/a.ts';\nimport { b } from '../../src/core/b.ts';";
  expect(foreign('web/src/planted.ts', planted)).toHaveLength(1);
});

test('ARCHITECTURE.md shows the same table', () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  const rows = [...text.matchAll(/^\| (`.*) \| (nothing|`.*`) \|$/gm)];
  const named = (cell = ''): string[] => [...cell.matchAll(/`([a-z-]+)`/g)].map(([, name]) => name ?? '');
  const shown = rows.flatMap(([, layers, others]) => named(layers).map((layer) => [layer, named(others)]));
  const { compose: _most, sandbox: _none, ...listed } = allowed;
  expect(Object.fromEntries(shown)).toEqual(listed);
});

test.each([
  ["import { a } from '../gateway/keys/client-keys.ts';"],
  ["export { a } from '../gateway/keys/client-keys.ts';"],
  ["export * from '../gateway/keys/client-keys.ts';"],
  ["import '../gateway/keys/client-keys.ts';"],
  ["const a = await import('../gateway/keys/client-keys.ts');"],
  ["new Worker(new URL('../gateway/keys/client-keys.ts', import.meta.url));"],
])('an import of the gateway by the pool is found: %s', (line) => {
  expect(violations('src/pool/planted.ts', line)).toHaveLength(1);
});

/** The folder of a file in its layer, by subject; undefined for a file beside such folders, which puts them together. */
function subjectOf(file: string, layer: string): string | undefined {
  const [folder, ...rest] = relative(join(root, 'src', layer), file).split('/');
  return rest.length === 0 || folder === '..' ? undefined : folder;
}

/** The folders of a layer that are in a circle of imports, or lead to one. */
function circlesIn(layer: string, texts: ReadonlyMap<string, string>): string[] {
  const arrows = new Map<string, Set<string>>();
  for (const [file, text] of texts) {
    const from = subjectOf(join(root, file), layer);
    if (from === undefined) continue;
    const others = arrows.get(from) ?? new Set();
    arrows.set(from, others);
    for (const [, target = ''] of importPatterns.flatMap((pattern) => [...text.matchAll(pattern)])) {
      const to = subjectOf(resolve(dirname(join(root, file)), target), layer);
      if (to !== undefined && to !== from) others.add(to);
    }
  }
  for (let before = -1; before !== arrows.size; ) {
    before = arrows.size;
    for (const [from, others] of arrows) if (![...others].some((to) => arrows.has(to))) arrows.delete(from);
  }
  return [...arrows.keys()];
}

test.each([
  ['pool', 'base', '../accounts/adding.ts', 'accounts'],
  ['lib', 'log', '../api/metrics.ts', 'api'],
  ['gateway', 'leases', '../turn/attempt.ts', 'turn'],
  ['pool/store', 'rules', '../verbs/leases.ts', 'verbs'],
  ['protocols', 'shared', '../warp/usage.ts', 'warp'],
])('arrows between the subject folders of %s go one way', (layer, folder, target, above) => {
  const own = files.filter((file) => file.startsWith(`src/${layer}/`) && !/\/testing\//.test(file));
  const texts = new Map(own.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
  expect(circlesIn(layer, texts)).toEqual([]);
  texts.set(`src/${layer}/${folder}/planted.ts`, `import { a } from '${target}';`);
  expect(circlesIn(layer, texts)).toContain(above);
});

/** Imports of one protocol by another. */
function betweenProtocols(file: string, text: string): string[] {
  const from = subjectOf(join(root, file), 'protocols');
  return importPatterns.flatMap((pattern) =>
    [...text.matchAll(pattern)].flatMap(([, target = '']) => {
      const to = subjectOf(resolve(dirname(join(root, file)), target), 'protocols');
      return to === undefined || to === from || to === 'shared' ? [] : [`${file} imports ${target}`];
    }),
  );
}

test('a protocol knows no other: what several need is in shared', () => {
  const own = files.filter((file) => file.startsWith('src/protocols/'));
  expect(own.flatMap((file) => betweenProtocols(file, readFileSync(join(root, file), 'utf8')))).toEqual([]);
  const planted = "import { usageOf } from '../warp/usage.ts';";
  expect(betweenProtocols('src/protocols/openai-chat/planted.ts', planted)).toHaveLength(1);
});

/** What a file and all it imports need of packages; imports of types alone are erased. */
function packagesOf(file: string, seen = new Set<string>()): string[] {
  if (seen.has(file)) return [];
  seen.add(file);
  const imports = readFileSync(file, 'utf8').matchAll(
    /^(?:import|export) (?!type\b)(?:[\w*{},\s]+ from )?'([^']+)';/gm,
  );
  return [...imports].flatMap(([, target = '']) => {
    if (target.startsWith('.')) return packagesOf(resolve(dirname(file), target), seen);
    return target.startsWith('node:') ? [] : [target];
  });
}

test.each([
  ['src/pool/store/sqlite/store-thread.ts', []],
  ['src/gateway/state/sqlite-thread.ts', []],
  ['src/gateway/emulation/schema-worker.ts', ['@cfworker/json-schema']],
])('the thread %s loads no more than it needs, since each thread has its own copy', (worker, needed) => {
  expect(packagesOf(join(root, worker))).toEqual(needed);
});

test.each([
  ['src/main.ts', ['commander', 'ipaddr.js', 'uqr', 'zod']],
  ['src/compose/open-pool.ts', ['eventsource-parser', 'ipaddr.js', 'zod']],
  ['src/compose/build-pool.ts', ['ipaddr.js', 'zod']],
  ['src/pool/index.ts', ['lru-cache', 'pino', 'prom-client', 'zod']],
])('%s loads no more than every command needs that gets there', (file, needed) => {
  expect([...new Set(packagesOf(join(root, file)))].sort()).toEqual(needed);
});

const inPart = /^(?:import|export) (?!type\b)[^;]*? from '(node:http|undici)';/m;

test('what is needed in part is not loaded as a whole', () => {
  const own = files.filter((file) => file.startsWith('src/') && !file.includes('/testing/'));
  expect(own.filter((file) => inPart.test(readFileSync(join(root, file), 'utf8')))).toEqual([]);
  expect("import { type Dispatcher, request } from 'undici';").toMatch(inPart);
});

test('only one file reads the environment', () => {
  const readers = files.filter(
    (file) => !file.includes('/testing/') && /process\.env\b/.test(readFileSync(join(root, file), 'utf8')),
  );
  expect(readers).toEqual(['src/environment.ts']);
});

test('OpenTelemetry is loaded only where traces or metrics are sent', () => {
  const starts = ['src/main.ts', 'src/compose.ts', 'src/gateway/gateway.ts', 'src/pool/http/server.ts'];
  for (const file of starts) {
    expect(packagesOf(join(root, file)).filter((name) => name.startsWith('@opentelemetry/'))).toEqual([]);
  }
  expect(packagesOf(join(root, 'src/lib/telemetry/telemetry.ts'))).toContain('@opentelemetry/sdk-trace');
});
