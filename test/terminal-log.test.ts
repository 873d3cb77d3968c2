import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { childEnvironment } from './support/process.ts';
import { eventually, userTurn } from './support/services.ts';

const program = resolve(import.meta.dirname, '../src/main.ts');
/** Runs a command with a terminal of its own and repeats what that shows. */
const inTerminal = [
  'python3',
  '-c',
  `
import os, pty, signal, sys
pid, terminal = pty.fork()
if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
while True:
    try: shown = os.read(terminal, 65536)
    except OSError: break
    if not shown: break
    os.write(1, shown)
os.waitpid(pid, 0)
`,
];

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');

/** Starts a service, has `use` do something with it, ends it, and answers what it wrote to its log. */
async function logOf(
  service: 'both' | 'pool',
  environment: Record<string, string>,
  before: readonly string[] = [],
  use: (log: () => string) => Promise<void> = async () => {},
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-terminal-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const mode = service === 'both' ? [] : [service];
  const [command = '', ...words] = [...before, process.execPath, program, 'serve', ...mode];
  const child = spawn(command, words, {
    cwd: folder,
    env: { ...childEnvironment, PORT: '0', POOL_SERVICE_PORT: '0', TERM: 'xterm', ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGTERM'));
  // Not its exit: after that, what it wrote last may still be on its way.
  const closed = once(child, 'close');
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const { LOG_FILE: file } = environment;
  const log = (): string => (file === undefined ? output : read(join(folder, file)));
  await eventually('the services have started', () => log().includes('SANDBOX'));
  await use(log);
  child.kill('SIGTERM');
  await closed;
  return log();
}

test('a terminal shows lines for people, from the first to the last, and where to look next', async () => {
  const shown = await logOf('both', {}, inTerminal, async (log) => {
    const [, url] = /the gateway listens *url=(\S+)/.exec(stripVTControlCharacters(log())) ?? [];
    const body = JSON.stringify(userTurn('fast', 'Hello'));
    await fetch(`${url}/v1/chat/completions`, { method: 'POST', body });
    await eventually('the turn is logged', () => log().includes('sandbox/sandbox'));
  });
  expect(shown).toContain('\u001b[32mINFO');
  const lines = stripVTControlCharacters(shown).trimEnd().split(/\r?\n/);
  const time = '\\[\\d\\d:\\d\\d:\\d\\d\\]';
  const place = 'url=(http://127\\.0\\.0\\.1:\\d+) docs=\\1/docs';
  expect(lines).toEqual(
    [
      `^${time} INFO: the account pool listens  ${place}$`,
      `^${time} INFO: the gateway listens  ${place}$`,
      `^${time} WARN: SANDBOX: the pool has no account.* warp2api account add`,
      `^${time} INFO: chat 200 fast -> sandbox/sandbox, \\d+ ms .* account=acc_sandbox_\\d request=[\\w-]+$`,
      `^${time} INFO: stopping  signal=SIGTERM$`,
      `^${time} INFO: stopped$`,
    ].map((line) => expect.stringMatching(new RegExp(line))),
  );
});

test('NO_COLOR leaves the colours out of a terminal', async () => {
  const shown = await logOf('pool', { NO_COLOR: '1' }, inTerminal);
  expect(shown).toMatch(/^\[\d\d:\d\d:\d\d\] INFO: the account pool listens/);
  expect(stripVTControlCharacters(shown)).toBe(shown);
});

test('elsewhere lines are JSON, in a terminal as well where LOG_FORMAT says so', async () => {
  for (const shown of [await logOf('pool', {}), await logOf('pool', { LOG_FORMAT: 'JSON' }, inTerminal)]) {
    const lines = shown.trimEnd().split(/\r?\n/);
    expect(lines.map((line) => JSON.parse(line).msg).slice(-3)).toEqual([
      expect.stringContaining('SANDBOX'),
      'stopping',
      'stopped',
    ]);
  }
});

test('LOG_FORMAT=text writes lines for people to pipes and files, in colour only if FORCE_COLOR is set', async () => {
  const plain = /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] INFO: the account pool listens/;
  expect(await logOf('pool', { LOG_FORMAT: 'text' })).toMatch(plain);
  expect(await logOf('pool', { LOG_FORMAT: 'text', LOG_FILE: 'a.log' })).toMatch(plain);
  const colored = await logOf('pool', { LOG_FORMAT: 'text', FORCE_COLOR: '1' });
  expect(colored).toContain('\u001b[32mINFO');
  expect(stripVTControlCharacters(colored)).toMatch(plain);
});
