import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServices, type TestServices } from './support/services.ts';

const run = promisify(execFile);
const root = resolve(import.meta.dirname, '..');
const text = readFileSync(join(root, 'docs/clients.md'), 'utf8');

function blocks(language: string): { title: string; code: string }[] {
  return text.split(/^## /m).flatMap((section) => {
    const found = [...section.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))];
    return found.map(([, code]) => ({ title: section.split('\n')[0] ?? '', code: code ?? '' }));
  });
}

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices({ API_KEYS: 'right-key' });
});
afterAll(() => services.close());

test.each(blocks('ts'))(
  'the sample of $title answers once for each dialect it names',
  async ({ title, code }) => {
    const here = code
      .replaceAll('http://127.0.0.1:8018', services.gatewayUrl)
      .replaceAll("'KEY'", "'right-key'");
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', here], { cwd: root });
    const answers = { 'OpenAI SDK': 2, 'AI SDK': 3 }[title] ?? 1;
    expect(stdout).toBe('You said: Hello\n'.repeat(answers));
  },
);

test('there is a sample for each of the SDKs, and what is to be put into files can be read', () => {
  expect(blocks('ts').map(({ title }) => title)).toEqual([
    'OpenAI SDK',
    'Anthropic SDK',
    'Google Gen AI SDK',
    'AI SDK',
    'LangChain',
  ]);
  expect(blocks('json').map(({ code }) => Object.keys(JSON.parse(code)))).toEqual([
    ['provider'],
    ['providers'],
    ['security'],
  ]);
});
