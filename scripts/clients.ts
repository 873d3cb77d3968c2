/**
 * Drives real command-line clients against the gateway on the sandbox: each must read a file through a tool call.
 * They are installed into a temporary folder, never into the project, and run where nothing can leave the machine,
 * if the machine allows a network namespace (Linux, as root).
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { startSandbox } from '../sandbox/index.ts';
import { startServices } from '../src/compose.ts';
import { loadConfig } from '../src/config.ts';
import { createLogger } from '../src/lib/logger.ts';

interface Client {
  readonly name: string;
  readonly packageName: string;
  /** Turns that one tool call and its result take, with those of the client's own (a title). */
  readonly turns: number;
  /** What the client is told to do; the sandbox makes a call of it. */
  prompt(file: string): string;
  run(at: Place): Call;
}

interface Place {
  readonly folder: string;
  readonly gatewayUrl: string;
  readonly prompt: string;
}

interface Call {
  readonly command: string;
  readonly words: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

const secret = 'the word is magnolia';
const installLimitMs = 240_000;
const runLimitMs = 90_000;

const clients: readonly Client[] = [
  {
    name: 'Codex (Responses)',
    packageName: '@openai/codex',
    turns: 2,
    prompt: (file) => `call exec_command ${JSON.stringify({ cmd: `cat ${file}` })}`,
    run({ folder, gatewayUrl, prompt }) {
      const home = join(folder, 'codex');
      mkdirSync(home, { recursive: true });
      const provider = `[model_providers.gw]\nname = "gw"\nbase_url = "${gatewayUrl}/v1"\nwire_api = "responses"\nenv_key = "GW_KEY"\n`;
      writeFileSync(join(home, 'config.toml'), `model = "sandbox"\nmodel_provider = "gw"\n${provider}`);
      const flags = ['--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox'];
      return {
        command: 'codex',
        words: ['exec', ...flags, '--', prompt],
        environment: { CODEX_HOME: home, GW_KEY: 'any' },
      };
    },
  },
  {
    name: 'Claude Code (Messages)',
    packageName: '@anthropic-ai/claude-code',
    turns: 2,
    prompt: (file) => `call Read ${JSON.stringify({ file_path: file })}`,
    run: ({ gatewayUrl, prompt }) => ({
      command: 'claude',
      words: ['-p', prompt, '--allowedTools', 'Read', '--model', 'sandbox'],
      environment: {
        ANTHROPIC_BASE_URL: gatewayUrl,
        ANTHROPIC_API_KEY: 'any',
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      },
    }),
  },
  {
    name: 'opencode (Chat Completions)',
    packageName: 'opencode-ai',
    turns: 3,
    prompt: (file) => `call read ${JSON.stringify({ filePath: file })}`,
    run({ folder, gatewayUrl, prompt }) {
      const options = { baseURL: `${gatewayUrl}/v1`, apiKey: 'any' };
      const gw = {
        npm: '@ai-sdk/openai-compatible',
        name: 'gw',
        options,
        models: { sandbox: { name: 'sandbox' } },
      };
      writeFileSync(join(folder, 'work', 'opencode.json'), JSON.stringify({ provider: { gw } }));
      // In an argument it would put the quotes of the prompt into quotes.
      return { command: 'opencode', words: ['run', '--model', 'gw/sandbox'], environment: {}, stdin: prompt };
    },
  },
];

const [, , inner, folderGiven] = process.argv;
process.exitCode = inner === '--installed' && folderGiven ? await drive(folderGiven) : await install();

/** Installs what can be had and goes on in a process of its own, without a way out of the machine. */
async function install(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'warp2api-clients-'));
  try {
    writeFileSync(join(folder, 'package.json'), '{"private": true}');
    for (const { name, packageName } of clients) {
      const words = ['install', '--no-audit', '--no-fund', '--loglevel=error', packageName];
      await promisify(execFile)('npm', words, { cwd: folder, timeout: installLimitMs }).catch(
        (error: Error) =>
          console.log(`not installed: ${name}: ${error.message.split('\n').slice(0, 3).join(' ')}`),
      );
    }
    const self = [process.execPath, resolve(import.meta.dirname, 'clients.ts'), '--installed', folder];
    const isClosed = spawnSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up']).status === 0;
    if (!isClosed) console.log('No network namespace can be made here: the clients could reach other hosts.');
    const quoted = self.map((word) => `'${word}'`).join(' ');
    const [command = '', ...words] = isClosed
      ? ['unshare', '-n', 'sh', '-c', `ip link set lo up && exec ${quoted}`]
      : self;
    return spawnSync(command, words, { stdio: 'inherit' }).status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function drive(folder: string): Promise<number> {
  mkdirSync(join(folder, 'work'), { recursive: true });
  const file = join(folder, 'work', 'note.txt');
  writeFileSync(file, `${secret}\n`);
  const upstream = await startSandbox();
  const config = loadConfig(
    {
      PORT: '0',
      POOL_SERVICE_PORT: '0',
      DATA_DIR: join(folder, 'data'),
      WARP_SERVER_URL: upstream.url,
      WARP_API_KEY: 'wk-clients.plain',
    },
    folder,
  );
  const services = await startServices(config, 'both', createLogger('FATAL'), (error) => {
    throw error;
  });
  let failed = 0;
  try {
    for (const client of clients) {
      const before = upstream.turns.length;
      const prompt = client.prompt(file);
      const output = await call(
        folder,
        client.run({ folder, gatewayUrl: services.gatewayUrl ?? '', prompt }),
      );
      const turns = upstream.turns.slice(before);
      const problems = turns.flatMap((turn) => turn.problems);
      const wrong =
        output === undefined
          ? 'could not be run'
          : !output.includes(secret)
            ? `did not show what the file holds:\n${output.slice(-1_500)}`
            : problems.length > 0
              ? `broke rules of the wire: ${problems.join('; ')}`
              : turns.length !== client.turns
                ? `took ${turns.length} turns instead of ${client.turns}: it may have repeated a broken stream`
                : undefined;
      if (wrong !== undefined) failed += 1;
      console.log(
        `${wrong === undefined ? 'ok' : 'FAILED'}  ${client.name}${wrong === undefined ? '' : `: ${wrong}`}`,
      );
    }
  } finally {
    await services.close();
    await upstream.close();
  }
  return failed === 0 ? 0 : 1;
}

/** All that a client wrote; undefined when there is no such command. */
function call(folder: string, { command, words, environment, stdin }: Call): Promise<string | undefined> {
  return new Promise((done) => {
    const child = spawn(join(folder, 'node_modules', '.bin', command), words, {
      cwd: join(folder, 'work'),
      env: { PATH: process.env['PATH'], HOME: join(folder, 'home'), ...environment },
      timeout: runLimitMs,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk;
      });
    }
    child.once('error', () => done(undefined));
    child.once('close', () => done(output));
    child.stdin.end(stdin ?? '');
  });
}
