import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { envExample, settingsTable } from '../src/settings.ts';
import { poolErrorTable } from './pool-errors.ts';

const root = resolve(import.meta.dirname, '..');

/** Files, or parts of them, that are made from the sources: path and the text it must have. */
export function generatedDocs(): readonly { readonly path: string; readonly text: string }[] {
  const readme = resolve(root, 'README.md');
  const poolDocs = resolve(root, 'docs/pool.md');
  return [
    { path: resolve(root, '.env.example'), text: envExample() },
    { path: readme, text: withBlock(readme, 'settings', settingsTable()) },
    { path: poolDocs, text: withBlock(poolDocs, 'errors', poolErrorTable()) },
  ];
}

function withBlock(path: string, name: string, block: string): string {
  const text = readFileSync(path, 'utf8');
  const start = `<!-- ${name}: made by npm run generate -->`;
  const end = `<!-- /${name} -->`;
  const from = text.indexOf(start);
  const to = text.indexOf(end);
  if (from === -1 || to === -1) throw new Error(`${path} lost its markers ${start} and ${end}.`);
  return `${text.slice(0, from + start.length)}\n${block}\n${text.slice(to)}`;
}
