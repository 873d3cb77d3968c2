import { open, unlink } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { errorCode } from '../../lib/errors.ts';
import { readTextFile } from '../../lib/files.ts';
import type { ImportAnswer } from '../../pool-api/account-schema.ts';
import { isSealedExport, openExport } from '../../pool-api/import-format.ts';
import type { PoolAdmin } from '../../pool-api/pool.ts';
import { type AccountState, accountStates } from '../../pool-api/schema.ts';
import type { CliActions } from '../actions.ts';
import { answer } from '../answers.ts';
import { UsageError } from '../option-values.ts';
import { formatTable } from '../table.ts';

const linesAtOnce = 100;

export function addAccountImport(parent: Command, actions: CliActions): void {
  const command = parent
    .command('import')
    .description('add accounts of yours from a file, one JSON object a line, or from a sealed export')
    .argument('<file>', 'the file; - reads standard input')
    .option('--passphrase-file <path>', 'what a sealed export was sealed with')
    .option('--json', 'print the result of every line as JSON')
    .addHelpText(
      'after',
      `
A line is {"provider": "warp", "api_key": "..."} or {"provider": "warp", "refresh_token": "..."}, with email, label,
capacity, models, free, lend, tier, team_uid and standby where you want them. Importing a file again adds nothing.

Examples:
  warp2api account import accounts.jsonl
  warp2api account import pool.export --passphrase-file pass.txt`,
    );
  answer(command, actions, async (file: string, { passphraseFile }: { passphraseFile?: string }) => {
    const text = file === '-' ? await actions.readStdin() : textOf(file);
    await using admin = await actions.openAdmin();
    const done = await importText(admin, await plainText(text, passphraseFile));
    const failure = done.failed > 0 && `${done.failed} of ${done.results.length} lines failed.`;
    return [done, describe(done), failure];
  });
}

async function plainText(text: string, passphraseFile: string | undefined): Promise<string> {
  if (!isSealedExport(text)) return text;
  if (passphraseFile === undefined) {
    throw new UsageError(
      'This is a sealed export: give --passphrase-file with the passphrase it was sealed with.',
    );
  }
  const parts: string[] = [];
  for await (const part of openExport(text, await readPassphrase(passphraseFile))) parts.push(part);
  return parts.join('');
}

/** In several calls, so that none is larger or takes longer than the pool allows. */
async function importText(admin: PoolAdmin, text: string): Promise<ImportAnswer> {
  const lines = text.split('\n');
  const all: ImportAnswer = { success: true, added: 0, duplicates: 0, failed: 0, results: [] };
  for (let from = 0; from < lines.length; from += linesAtOnce) {
    const answer = await admin.importAccounts({ lines: lines.slice(from, from + linesAtOnce).join('\n') });
    all.added += answer.added;
    all.duplicates += answer.duplicates;
    all.failed += answer.failed;
    all.results.push(...answer.results.map((result) => ({ ...result, line: result.line + from })));
  }
  return all;
}

function describe({ added, duplicates, failed, results }: ImportAnswer): string {
  const faults = results.filter(({ result }) => result === 'failed' || result === 'rejected');
  const table = formatTable(faults, [
    ['line', ({ line }) => line],
    ['result', ({ result }) => result],
    ['account', ({ id }) => id],
    ['reason', ({ reason }) => reason],
  ]);
  const refused = results.filter(({ result }) => result === 'rejected').length;
  const kept =
    refused === 0
      ? ''
      : `${refused} of these ${refused === 1 ? 'was' : 'were'} refused by the provider and kept, out of service: "warp2api account replace ID" gives another credential, "warp2api account remove ID" takes it out.\n`;
  return `${table}${added} added, ${duplicates} in the pool already, ${failed} failed.\n${kept}`;
}

/** Throws UsageError when the file cannot be read. */
function textOf(file: string): string {
  try {
    return readTextFile(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new UsageError(`There is no file ${file}: check the path.`);
    if (code === undefined) throw new UsageError(`${file} cannot be read: ${message}.`);
    throw new UsageError(`${file} cannot be read (${code}): it must be a file you may read.`);
  }
}

/** The first line of a file. Throws UsageError when it is empty. */
async function readPassphrase(file: string): Promise<string> {
  const passphrase = textOf(file).split('\n', 1)[0]?.replace(/\r$/, '') ?? '';
  if (passphrase === '') throw new UsageError(`${file} holds no passphrase.`);
  return passphrase;
}

interface ExportOptions {
  readonly to: string;
  readonly passphraseFile: string;
  readonly provider?: string;
  readonly status?: AccountState;
  readonly source?: string;
}

export function addAccountExport(parent: Command, actions: CliActions): void {
  const command = parent
    .command('export')
    .description('write accounts with their credentials into a file that is sealed with a passphrase')
    .requiredOption('--to <file>', 'the file to make; an existing one is left alone')
    .requiredOption('--passphrase-file <path>', 'its first line is the passphrase, of 12 characters or more')
    .option('--provider <name>', 'only those of this provider')
    .addOption(new Option('--status <status>', 'only those in this state').choices(accountStates))
    .option('--source <name>', 'only those from there')
    .option('--json', 'print the name of the file as JSON')
    .addHelpText(
      'after',
      `
To move accounts, not to copy them: a refresh token is replaced each time it is used, so of two pools that have it only
one can go on. Remove the accounts here once they are there.

Example:
  warp2api account export --to pool.export --passphrase-file pass.txt`,
    );
  answer(command, actions, async ({ to, passphraseFile, provider, status, source }: ExportOptions) => {
    const passphrase = await readPassphrase(passphraseFile);
    await using admin = await actions.openAdmin();
    const sealed = await admin.exportAccounts({ passphrase, filter: { provider, status, source } });
    await writeNew(to, sealed);
    return [{ file: to }, `The accounts are in ${to}, sealed.\n`];
  });
}

/** Makes a file that only its owner may read; leaves none when it cannot be finished. */
async function writeNew(path: string, text: AsyncIterable<string>): Promise<void> {
  const handle = await open(path, 'wx', 0o600).catch((error: unknown) => {
    if (errorCode(error) !== 'EEXIST') throw error;
    throw new UsageError(`${path} is there already: choose another name.`);
  });
  try {
    for await (const piece of text) await handle.appendFile(piece, 'utf8');
    await handle.sync();
  } catch (error) {
    await unlink(path);
    throw error;
  } finally {
    await handle.close();
  }
}
