import { execFile } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Command, CommanderError } from 'commander';
import { expect, onTestFinished, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import type { CliActions } from '../src/cli/actions.ts';
import { createProgram } from '../src/cli/program.ts';

/** What the documents show, as a reader takes it: TypeScript pasted into a strict project, files that have to be valid. */

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..');
const documents = globSync(['*.md', 'docs/**/*.md', 'bench/*.md', 'sandbox/*.md', 'examples/**/*.md'], {
  cwd: root,
});

interface Snippet {
  readonly document: string;
  readonly line: number;
  readonly code: string;
}

function snippets(language: string): Snippet[] {
  return documents.flatMap((document) => {
    const text = readFileSync(join(root, document), 'utf8');
    return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map((match) => ({
      document,
      line: text.slice(0, match.index).split('\n').length + 1,
      code: match[1] ?? '',
    }));
  });
}

/** Compiles each as its own module; answers what the compiler says. */
async function compile(given: readonly Snippet[]): Promise<string> {
  // Below node_modules, so that the packages a snippet imports are found as in a reader's project.
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'snippets-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const compilerOptions = {
    strict: true,
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable'],
    module: 'nodenext',
    types: ['node'],
    typeRoots: [join(root, 'node_modules', '@types')],
    skipLibCheck: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    paths: { 'warp2api/pool-client': [join(root, 'src/pool-api/client.ts')] },
  };
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  const files = given.map(({ document, line, code }) => {
    const file = `${document.replaceAll(/\W/g, '-')}-line-${line}.ts`;
    writeFileSync(join(folder, file), `${code}\nexport {};\n`);
    return file;
  });
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
  const compiler = join(root, 'node_modules', '.bin', 'tsc');
  return run(compiler, ['-p', folder], { cwd: folder }).then(
    ({ stdout }) => stdout,
    (error: { stdout?: string }) => error.stdout || String(error),
  );
}

test('the snippets of all documents compile in strict mode', async () => {
  const found = snippets('(?:ts|typescript)');
  expect(found.map(({ document }) => document)).toContain('README.md');
  expect(await compile(found)).toBe('');
});

test('a snippet that does not compile is named by its document and line', async () => {
  const code = "import OpenAI from 'openai';\nconst client: OpenAI = { base: 1 };\nconsole.log(client);\n";
  const said = await compile([{ document: 'docs/example.md', line: 7, code }]);
  expect(said).toMatch(/^docs-example-md-line-7\.ts\(2,26\): error TS/);
});

test('their JSON and YAML can be read, their Python is Python', async () => {
  const unreadable: string[] = [];
  const tryEach = (language: string, read: (code: string) => unknown) => {
    for (const { document, line, code } of snippets(language)) {
      try {
        read(code);
      } catch (error) {
        unreadable.push(`${document}:${line}: ${error}`);
      }
    }
  };
  tryEach('json', JSON.parse);
  tryEach('yaml', (code) => parseYaml(code));
  expect(unreadable).toEqual([]);
  const python = snippets('python').map(({ document, line, code }) => [`${document}:${line}`, code]);
  expect(python).not.toHaveLength(0);
  const program = 'import json, sys\nfor name, code in json.load(sys.stdin): compile(code, name, "exec")';
  const reader = run('python3', ['-c', program]);
  reader.child.stdin?.end(JSON.stringify(python));
  await reader;
});

const inCode = /`(?:npx )?warp2api ([a-z][^`#|>&;]*)/g;
const inShell = /^(?:.*\| )?(?:npx )?warp2api ([a-z][^`#|>&;\n]*)/gm;

/** Every command that a document shows, with the words behind `warp2api`. */
function shownCommands(): { readonly document: string; readonly words: readonly string[] }[] {
  return documents.flatMap((document) => {
    const text = readFileSync(join(root, document), 'utf8');
    return [...text.matchAll(inCode), ...text.matchAll(inShell)].map(([, shown = '']) => ({
      document,
      words: [...shown.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((one) => one[1] ?? one[2] ?? one[3] ?? ''),
    }));
  });
}

/** The command line without what its commands do. */
function commandLine(): Command {
  const silent = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut() {}, writeErr() {} });
    if (command.commands.length === 0) command.action(() => {});
    command.commands.forEach(silent);
  };
  const program = createProgram({} as CliActions);
  silent(program);
  return program;
}

test('every command of the documents is one that there is, with its options', async () => {
  const commands = shownCommands();
  expect(commands.length).toBeGreaterThan(50);
  const wrong: string[] = [];
  for (const { document, words } of commands)
    await commandLine()
      .parseAsync(words, { from: 'user' })
      .catch((error: CommanderError) => {
        // A text may name a command without what it needs.
        const isOnlyNamed =
          /^commander\.missing/.test(error.code) && !words.some((word) => word.startsWith('-'));
        if (!isOnlyNamed) wrong.push(`${document}: ${words.join(' ')}: ${error.message}`);
      });
  expect(wrong).toEqual([]);
});
