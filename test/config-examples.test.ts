import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../src/config.ts';

const root = resolve(import.meta.dirname, '..');

/** The examples of a configuration file that people copy. */
const examples = ['docs/routes.md', 'docs/providers.md'].flatMap((file) => {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml = '']) => ({ file, yaml }));
});

test.each(examples)('an example of $file is read without a fault', ({ yaml }) => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-example-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'warp2api.yaml'), yaml);
  const { routes, models, providers } = loadConfig({}, folder);
  expect(routes.length + Object.keys(models).length + Object.keys(providers).length).toBeGreaterThan(0);
});

test('there are examples', () => expect(examples.length).toBeGreaterThan(6));
