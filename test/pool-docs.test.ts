import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { usePython } from './support/python.ts';
import { servicesForTest } from './support/services.ts';

const run = promisify(execFile);
const python = usePython();
const root = resolve(import.meta.dirname, '..');
const text = readFileSync(join(root, 'docs/pool.md'), 'utf8');

function blocks(language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(
    ([, code]) => code ?? '',
  );
}

async function setUp() {
  const services = await servicesForTest();
  await services.addAccount('wk-1.abc');
  await services.addAccount('wk-2.abc');
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-docs-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const { host } = new URL(services.poolUrl);
  const here = (code: string) => code.replaceAll('localhost:8019', host);
  return { services, folder, here };
}

test('the calls that docs/pool.md shows with curl are answered', async () => {
  const { here } = await setUp();
  const calls = blocks('sh').filter((block) => block.startsWith('curl'));
  expect(calls.length).toBeGreaterThan(2);
  for (const call of calls.filter((block) => !block.startsWith('curl -N'))) {
    const { stdout } = await run('bash', ['-ec', here(call).replaceAll('curl ', 'curl -sSf ')]);
    expect(stdout).toMatch(/"success":true|"pool_stats"/);
  }
  const [events] = calls.filter((block) => block.startsWith('curl -N'));
  const endless = run('bash', ['-ec', here(events ?? '').replace('curl ', 'curl -sS --max-time 1 ')]);
  await expect(endless).rejects.toMatchObject({ code: 28, stdout: expect.stringContaining(': connected') });
});

test('its programs run and give everything back', async () => {
  const { services, folder, here } = await setUp();
  const client = join(root, 'src/pool-api/client.ts');
  const programs = blocks('ts');
  expect(programs).toHaveLength(3);
  for (const [index, program] of programs.entries()) {
    const file = join(folder, `program-${index}.ts`);
    writeFileSync(file, here(program).replace("'warp2api/pool-client'", `'${client}'`));
    const { stderr } = await run(process.execPath, [file], { timeout: 60_000 });
    expect(stderr).toBe('');
  }
  for (const program of blocks('python')) {
    expect(await python.run(['-c', here(program)])).not.toBe('');
  }
  expect(await services.pool('/api/accounts/status')).toMatchObject({ active_sessions: 0 });
});
