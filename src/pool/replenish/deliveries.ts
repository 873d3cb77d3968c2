import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { ProviderHttp } from '../../core/provider.ts';
import { errorCode } from '../../lib/errors.ts';
import { beginningOf } from '../../lib/shown-text.ts';
import { createLimit } from '../../lib/tasks.ts';
import { type ImportedAccount, parseImport } from '../../pool-api/import-format.ts';
import { type Admission, importGiven } from '../accounts/transfer.ts';
import { Facts } from '../base/facts.ts';
import { sealedFactPrefix } from '../vault/vault.ts';
import type { Batch } from './batch.ts';
import { redacted, type Source, SourceError, type SourceTools } from './source.ts';

const delivery = z.object({ source: z.string(), at: z.number(), text: z.string() });

/** Few, since thousands that wait together for a place in the pool would all wake whenever one is done. */
const linesAtOnce = 8;
/** A delivery of another instance that is older than this was left behind. */
const leftBehindMs = 600_000;

/** Credentials that a program outside has just handed out, perhaps only this once. */
class Deliveries {
  readonly #source: string;
  readonly #tools: SourceTools;
  readonly #facts: Facts<z.infer<typeof delivery>>;
  readonly #running = new Set<string>();

  constructor(source: string, tools: SourceTools) {
    this.#source = source;
    this.#tools = tools;
    const { store, vault } = tools.basics;
    this.#facts = new Facts(store, `${sealedFactPrefix}delivery:${source}:`, delivery, vault);
  }

  /** Keeps the text sealed, brings its accounts in, and forgets it. What there is no place for goes into standby. */
  async receive(text: string, batch: Batch): Promise<void> {
    const lines = parseImport(text);
    if (lines.length === 0) return;
    const source = this.#source;
    const id = randomUUID();
    this.#running.add(id);
    try {
      const kept = await this.#facts.add(id, { source, at: this.#tools.basics.clock.now(), text });
      const limit = createLimit(linesAtOnce);
      await Promise.all(
        lines.map((one) =>
          limit(async () => {
            const label = `${source} line ${one.line}`;
            if ('problem' in one) batch.fault(`${label}: ${one.problem}`);
            else await this.#bring(label, one.account, batch);
          }),
        ),
      );
      await this.#facts.forget(kept);
    } finally {
      this.#running.delete(id);
    }
  }

  /** Brings in, as standby accounts, what an earlier attempt did not finish. */
  async recover(): Promise<void> {
    const { store, clock, logger } = this.#tools.basics;
    for (const kept of await this.#facts.all()) {
      const { at, text } = kept.value;
      const isOurs = !store.isShared || at < clock.now() - leftBehindMs;
      if (!isOurs || this.#running.has(kept.name.slice(kept.name.lastIndexOf(':') + 1))) continue;
      const results: Admission['result'][] = [];
      for (const one of parseImport(text)) {
        if ('account' in one) results.push((await this.#take(one.account, 'housekeeper', true)).result);
      }
      await this.#facts.forget(kept);
      const added = results.filter((result) => result === 'added').length;
      logger.info(
        { source: this.#source, added },
        'accounts of a delivery that was broken off are in standby now',
      );
    }
  }

  async #bring(label: string, account: ImportedAccount, batch: Batch): Promise<void> {
    const { actor } = batch;
    if (account.standby !== true) {
      const admission = await batch.admit(label, () => this.#take(account, actor, false));
      if (admission.result !== 'no_room') return;
    }
    await batch.hold(label, () => this.#take(account, actor, true));
  }

  #take(account: ImportedAccount, actor: string, isStandby: boolean): Promise<Admission> {
    return importGiven(this.#tools, account, this.#source, actor, isStandby);
  }
}

export interface CommandSourceSettings {
  readonly type: 'command';
  readonly name: string;
  readonly command: readonly string[];
  readonly timeoutMs: number;
  /** All it sees of the environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly folder: string;
}

/** A command of the owner's that prints accounts in the import format, as a credential helper does. */
export function createCommandSource(settings: CommandSourceSettings, tools: SourceTools): Source {
  const { name, command, environment } = settings;
  const { secrets, providers } = tools.basics;
  for (const [variable, value] of Object.entries(environment)) {
    // The name of a provider is no secret, and commands may get it.
    if (!providers.has(value)) secrets.addNamed(variable, value);
  }
  secrets.addArguments(command.slice(1));
  const deliveries = new Deliveries(name, tools);
  return {
    name,
    type: settings.type,
    restsWhenEmpty: true,
    recover: () => deliveries.recover(),
    async fetch(batch) {
      const input = `${JSON.stringify({ count: batch.wanted })}\n`;
      const { output, complaints, fault } = await runCommand(settings, input, batch.signal);
      await deliveries.receive(output, batch);
      if (fault === null) return;
      const said = redacted(complaints, secrets);
      throw new SourceError(`the command failed: ${fault}${said === '' ? '' : `; it said: ${said}`}`);
    },
  };
}

interface CommandEnd {
  /** What it printed; of an end before its time, whole lines only. At most 1 MiB. */
  readonly output: string;
  /** The beginning of what it complained. */
  readonly complaints: string;
  /** Why the output may not be all; null when the command ended well. */
  readonly fault: string | null;
}

const mostOutputBytes = 1024 * 1024;
const mostComplaintBytes = 4096;
/** How long the output may stay open after the command itself has ended. */
const lingerMs = 1000;

/**
 * Runs a command in a process group of its own and reads what it prints. Past its time, or with too much to say, the
 * whole group is killed. Never throws: even a command that failed may have printed credentials that must not be lost.
 */
function runCommand(
  { command, environment, folder, timeoutMs }: CommandSourceSettings,
  input: string,
  abort: AbortSignal,
): Promise<CommandEnd> {
  const [program = '', ...words] = command;
  return new Promise((resolve) => {
    const child = spawn(program, words, {
      cwd: folder,
      env: { ...environment },
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const output: Buffer[] = [];
    const complaints: Buffer[] = [];
    let outputBytes = 0;
    let complaintBytes = 0;
    let fault: string | null = null;

    /** The group may be gone already. */
    const killGroup = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch (error) {
        if (errorCode(error) !== 'ESRCH') throw error;
      }
    };
    const complained = (): string => {
      const text = Buffer.concat(complaints).toString('utf8');
      // With one character more, so that the cut goes between words where output was dropped.
      return complaintBytes > mostComplaintBytes ? beginningOf(`${text} `, text.length) : text;
    };
    const giveUp = (why: string): void => {
      fault ??= why;
      killGroup();
    };
    const timer = setTimeout(() => giveUp(`it took longer than ${timeoutMs / 1000} s`), timeoutMs);
    let lingering: NodeJS.Timeout | undefined;
    const onAbort = (): void => giveUp('the pool is closing');
    abort.addEventListener('abort', onAbort, { once: true });

    child.stdout.on('data', (chunk: Buffer) => {
      output.push(chunk.subarray(0, Math.max(0, mostOutputBytes - outputBytes)));
      outputBytes += chunk.length;
      if (outputBytes > mostOutputBytes) giveUp(`it printed more than ${mostOutputBytes} bytes`);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (complaintBytes >= mostComplaintBytes) return;
      complaints.push(chunk.subarray(0, mostComplaintBytes - complaintBytes));
      complaintBytes += chunk.length;
    });
    // A command that does not read its input is none the worse for it.
    child.stdin.on('error', () => {});
    child.stdin.end(input);

    const end = (): void => {
      clearTimeout(timer);
      clearTimeout(lingering);
      abort.removeEventListener('abort', onAbort);
      const text = Buffer.concat(output).toString('utf8');
      const whole = fault === null ? text : text.slice(0, text.lastIndexOf('\n') + 1);
      resolve({ output: whole, complaints: complained(), fault });
    };
    child.on('error', (error) => {
      const code = errorCode(error) ?? error.message;
      fault ??= `${program} cannot be started (${code})`;
      if (child.pid === undefined) end();
    });
    child.on('exit', (code, signal) => {
      if (code !== 0) fault ??= signal === null ? `it ended with code ${code}` : `it ended by ${signal}`;
      // Something it started may hold its output open for ever.
      lingering = setTimeout(killGroup, lingerMs);
    });
    child.on('close', end);
  });
}

export interface WebhookSourceSettings {
  readonly type: 'webhook';
  readonly name: string;
  readonly url: string;
  readonly timeoutMs: number;
  readonly headers: Readonly<Record<string, string>>;
}

const mostBytes = 1024 * 1024;
/** Characters of a refusal that are searched for secrets before its beginning is shown. */
const mostRead = 64 * 1024;

/** An address of the owner's that answers with accounts in the import format. No redirect is followed. */
export function createWebhookSource(
  settings: WebhookSourceSettings,
  tools: SourceTools,
  { http, userAgent }: { readonly http: ProviderHttp; readonly userAgent: string },
): Source {
  const { name, url, timeoutMs, headers } = settings;
  const { secrets } = tools.basics;
  secrets.addUrl(url, { isPathSecret: true });
  // They come from variables because they are secret, whatever the header.
  for (const value of Object.values(headers)) secrets.addNamed('authorization', value);
  const deliveries = new Deliveries(name, tools);
  const ask = async (count: number, signal: AbortSignal) => {
    try {
      return await http({
        method: 'POST',
        url,
        headers: {
          accept: 'application/x-ndjson',
          'content-type': 'application/json',
          'user-agent': userAgent,
          ...headers,
        },
        body: JSON.stringify({ count }),
        timeoutMs,
        signal,
      });
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      throw new SourceError(`the webhook did not answer: ${error.message}`, { cause: error });
    }
  };
  return {
    name,
    type: settings.type,
    restsWhenEmpty: true,
    recover: () => deliveries.recover(),
    async fetch(batch) {
      const { status, body } = await ask(batch.wanted, batch.signal);
      const text = Buffer.from(body).toString('utf8');
      if (status < 200 || status > 299) {
        const said = redacted(beginningOf(text, mostRead), secrets);
        throw new SourceError(`the webhook answered ${status}${said === '' ? '' : `: ${said}`}`);
      }
      if (body.length > mostBytes) {
        throw new SourceError(`the webhook answered with more than ${mostBytes} bytes`);
      }
      await deliveries.receive(text, batch);
    },
  };
}
