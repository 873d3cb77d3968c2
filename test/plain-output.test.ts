import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import stringWidth from 'string-width';
import { expect, it, onTestFinished } from 'vitest';
import { startSandbox } from '../sandbox/index.ts';
import { createLimit } from '../src/lib/tasks.ts';
import { childEnvironment, startProcess } from './support/process.ts';
import { eventually, userTurn } from './support/services.ts';

/** Erases the screen, sets the window's title, turns the line around, hides what follows, begins lines of its own. */
const evil =
  '\u001b[2J\u009b31m\u0090q\u009c\u001b]0;owned\u0007\u202eesrever\u2066\u200b\u00ad\ufeff\u2028\u{e0041}\u{e0100}\u007f';
const obeyed = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const program = resolve(import.meta.dirname, '../src/main.ts');

function run(words: readonly string[], environment: Record<string, string>, folder: string): Promise<string> {
  const options = { cwd: folder, env: { ...childEnvironment, ...environment }, timeout: 60_000 };
  return new Promise((done) => {
    execFile(process.execPath, [program, ...words], options, (_error, out, err) => done(`${out}${err}`));
  });
}

/** With a header of bytes that fetch lets no program send. */
function ask(url: string, headers: Record<string, string>, body: string): Promise<string> {
  return new Promise((done, fail) => {
    const call = request(url, { method: 'POST', headers }, (answer) => {
      let said = JSON.stringify(answer.headers);
      answer.setEncoding('utf8').on('data', (chunk) => {
        said += chunk;
      });
      answer.on('end', () => done(said));
    });
    call.on('error', fail);
    call.end(body);
  });
}

it('neither a terminal nor a log gets anything from outside that it would obey', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-plain-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'drop'));
  writeFileSync(join(folder, 'complain.cjs'), `console.error(${JSON.stringify(evil)}); process.exit(1);`);
  const command = [process.execPath, 'complain.cjs'];
  writeFileSync(
    join(folder, 'warp2api.yaml'),
    JSON.stringify({
      sources: [
        { type: 'command', command },
        { type: 'file', path: 'drop' },
      ],
    }),
  );
  const inName = evil.replaceAll('/', '').replaceAll('\u0000', '');
  writeFileSync(join(folder, 'drop', `${inName}.jsonl`), '{"provider":"warp","api_key":5}\n', {
    mode: 0o644,
  });
  const upstream = await startSandbox();
  onTestFinished(() => upstream.close());
  const environment = {
    WARP_SERVER_URL: upstream.url,
    PORT: '0',
    POOL_SERVICE_PORT: '0',
    DATA_DIR: folder,
    LOG_LEVEL: 'TRACE',
    SHUTDOWN_SECONDS: '0',
  };
  const services = await startProcess(['serve'], environment, folder);
  const poolUrl = await eventually(
    'the pool listens',
    () => /"url":"([^"]+)"[^\n]*the account pool listens/.exec(services.output())?.[1],
  );
  const pool = async (path: string, body: unknown) => {
    const answer = await fetch(`${poolUrl}/api/accounts${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    return { status: answer.status, text: await answer.text() };
  };

  const account = { provider: 'warp', api_key: 'wk-some-key' };
  for (const [field, change] of Object.entries({
    label: { label: `a${evil}` },
    email: { email: `a${evil}@example.com` },
    models: { models: [`a${evil}`] },
  })) {
    const { status, text } = await pool('', { ...account, ...change });
    expect([status, text]).toEqual([400, expect.stringContaining(`"${field}`)]);
  }
  const label = 'Zoë 東京 👨‍👩‍👧';
  expect((await pool('', { ...account, label })).status).toBe(201);
  await eventually('the file is taken', async () => {
    await pool('/replenish', { count: 1 });
    return services.output().includes('esrever');
  });

  const model = `sandbox-${evil}`;
  const headers = { 'user-agent': 'a\u009b31m', 'x-request-id': 'b\u009b31m' };
  const fields = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [`${evil}\r\nx${index}`, 1]));
  const answer = await ask(
    `${services.url}/v1/chat/completions`,
    headers,
    JSON.stringify(userTurn('sandbox', 'hello', fields)),
  );
  expect(answer).toMatch(/"x-warp2api-ignored":"[A-Za-z0-9_., -]{1,4000}"/);
  await ask(`${services.url}/v1/chat/completions`, headers, JSON.stringify(userTurn(model, 'hello')));
  await ask(`${services.url}/v1/\u009b31m`, headers, '{}').catch(() => undefined);
  await eventually('the turn is logged', () => services.output().includes('esrever\\u2066'));

  const at = { ...environment, POOL_SERVICE_URL: poolUrl, POOL_SERVICE_PORT: new URL(poolUrl).port };
  const blocked = join(folder, 'warp2api.yaml', inName);
  const atATime = createLimit(2);
  const commands = [
    ['status --json', {}],
    ['account list', {}],
    ['account list --json', {}],
    ['status', {}],
    ['doctor', {}],
    [`account show ${inName}`, {}],
    [inName, {}],
    ['doctor', { LOG_LEVEL: `${inName}\nmore` }],
    ['serve', { CONFIG_FILE: inName }],
    ['serve', { DATA_DIR: blocked }],
    ['serve', { LOG_FILE: blocked }],
  ] as const;
  const said = await Promise.all(
    commands.map(([words, more]) => atATime(() => run(words.split(' '), { ...at, ...more }, folder))),
  );
  const [status = '', list = '', listed = ''] = said;
  expect(JSON.parse(status).sources[1].last_error).toContain('esrever');
  expect(JSON.parse(listed).accounts[0].label).toBe(label);
  const [heading = '', row = ''] = list.split('\n');
  expect(row).toContain(label);
  expect(stringWidth(row.slice(0, row.indexOf('active')))).toBe(heading.indexOf('STATUS'));
  await services.kill('SIGTERM');
  for (const text of [...said, services.output()]) {
    // The joiners of the emoji are the only ones to pass.
    const line = text.split('\n').find((one) => obeyed.test(one.replace(label, '')));
    expect(line && JSON.stringify(line)).toBeUndefined();
  }
  for (const line of services.output().trimEnd().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
});

it('a command whose reader has seen enough, such as head, just ends', async () => {
  const child = spawn(process.execPath, [program, '--help'], { env: childEnvironment });
  onTestFinished(() => void child.kill('SIGKILL'));
  child.stdout.destroy();
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
  expect([code, said]).toEqual([0, '']);
});
