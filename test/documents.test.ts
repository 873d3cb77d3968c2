import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, resolve } from 'node:path';
import { expect, test } from 'vitest';

/** What the documents name of the tree is there: files, folders, and where links lead. */

const root = resolve(import.meta.dirname, '..');
const made = new Set(['.git', 'data', 'dist', 'logs', 'node_modules']);
const options = { cwd: root, exclude: (name: string) => made.has(name) };
const tree = new Set(globSync(['**/*', '.*', '.ci/*', '.github/**/*'], options));
const documents = globSync('**/*.md', options);
const architecture = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');

/** A path may begin anywhere in the tree: `turn/attempt.ts`, and `<name>` is any folder. */
function isThere(path: string): boolean {
  const words = path.replace(/\/$/, '').split(/<[^>]+>/);
  const pattern = new RegExp(`(?:^|/)${words.map((word) => RegExp.escape(word)).join('[^/]+')}$`);
  return [...tree].some((known) => pattern.test(known));
}

/** The files that a text names, and in a text about the sources its folders, too. */
function pathsIn(text: string, isOfSources: boolean): string[] {
  const endings = isOfSources ? /.\.(?:ts|tsx|js|mjs|sh|css|sql|md)$|\/$/ : /.\.(?:ts|tsx|js)$/;
  const quoted = [...text.matchAll(/`((?:[\w.@/-]|<\w+>)+)`/g)].map(([, name = '']) => name);
  return quoted.filter((name) => endings.test(name));
}

test.each(documents)('%s names files that exist', (document) => {
  const text = readFileSync(join(root, document), 'utf8');
  const named = pathsIn(text, document === 'ARCHITECTURE.md' || document === 'CONTRIBUTING.md');
  expect(named.filter((path) => !isThere(path))).toEqual([]);
});

test('names are found in a text', () => {
  const text =
    'From `gone.ts` in `src/gone/` to `protocols/<name>/gone.ts` and `turn/attempt.ts`, not `a/b.` or `NAME/x`.';
  const named = pathsIn(text, true);
  expect(named).toEqual(['gone.ts', 'src/gone/', 'protocols/<name>/gone.ts', 'turn/attempt.ts']);
  expect(named.filter(isThere)).toEqual(['turn/attempt.ts']);
  expect(pathsIn(text, false)).not.toContain('src/gone/');
});

/** The paths of the drawn tree: a name below another stands two places further in. */
function drawnPaths(): string[] {
  const drawing = /^## The tree\n\n```\n(.*?)^```/ms.exec(architecture)?.[1] ?? '';
  const above: string[] = [];
  const lines = drawing.matchAll(/^( {0,4})((?:[\w.-]+\/|[\w-]+\.ts)(?: [\w./-]+\/)*)(?: |$)/gm);
  return [...lines].flatMap(([, indent = '', names = '']) => {
    const depth = indent.length / 2;
    const paths = names.split(' ').map((name) => name.replace(/\/$/, ''));
    above.splice(depth, above.length, paths[0] ?? '');
    return paths.map((name) => join(...above.slice(0, depth), name));
  });
}

test('the tree in ARCHITECTURE.md has the folders there are, and no others', () => {
  const drawn = drawnPaths();
  expect(drawn.filter((path) => !tree.has(path))).toEqual([]);
  const folders = globSync(['src/*/', 'src/{gateway,lib,pool}/*/'], { cwd: root }).map((path) =>
    path.replace(/\/$/, ''),
  );
  expect(folders.length).toBeGreaterThan(30);
  expect(folders.filter((path) => !drawn.includes(path) && !path.endsWith('/testing'))).toEqual([]);
});

function anchorsOf(document: string): string[] {
  const titles = readFileSync(join(root, document), 'utf8')
    .replaceAll(/^```.*?^```/gms, '')
    .matchAll(/^#+ (.*)$/gm);
  return [...titles].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test.each(documents)('links of %s lead somewhere', (document) => {
  const text = readFileSync(join(root, document), 'utf8').replaceAll(/^```.*?^```/gms, '');
  const links = [...text.matchAll(/\]\((?!\w+:)([^)#]*)(?:#([^)]+))?\)/g)];
  const broken = links.filter(([, path, anchor]) => {
    const target = path ? normalize(join(dirname(document), path)).replace(/\/$/, '') : document;
    return (
      !tree.has(target) ||
      (anchor !== undefined && target.endsWith('.md') && !anchorsOf(target).includes(anchor))
    );
  });
  expect(broken.map(([link]) => link)).toEqual([]);
});
