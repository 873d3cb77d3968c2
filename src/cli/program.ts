import { Command, CommanderError } from 'commander';
import { errorMessage } from '../lib/errors.ts';
import { version } from '../lib/version.ts';
import { PoolError } from '../pool-api/errors.ts';
import { addAccountAdd, addAccountLogin, addAccountReplace } from './account/credentials.ts';
import { addAccountExport, addAccountImport } from './account/transfer.ts';
import {
  addAccountEnable,
  addAccountList,
  addAccountRemove,
  addAccountSet,
  addAccountShow,
} from './account/verbs.ts';
import type { CliActions } from './actions.ts';
import { addKeys } from './keys.ts';
import { UsageError } from './option-values.ts';
import { addPool } from './pool.ts';
import { addConfig, addImportConfig, addSandbox, addServe, addSettings } from './services.ts';
import { addAudit, addDoctor, addStatus } from './status.ts';
import { addUsage } from './usage.ts';
import { addBackup, addMigrate, addRestore, addVault } from './whole-store.ts';
import { addWhy } from './why.ts';

/** The command line. Its commands throw; `runProgram` turns that into an exit code. */
export function createProgram(actions: CliActions): Command {
  const program = new Command('warp2api')
    .description('One OpenAI-compatible endpoint in front of the LLM accounts you own')
    .version(version, '-v, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    .showHelpAfterError('("warp2api --help" shows what there is)')
    .configureOutput({
      writeOut: (text) => actions.write(text),
      writeErr: (text) => actions.writeError(text),
    })
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  warp2api serve                                     run both services
  warp2api account add --provider warp --api-key -   add an account, its key on standard input
  warp2api status                                    see how the pool is doing

Exit codes: 0 done, 1 failed, 2 called wrongly.`,
    );

  addServe(program, actions);
  const account = program
    .command('account')
    .description('add, show and change the accounts of the pool')
    .helpCommand(false);
  addAccountAdd(account, actions);
  addAccountLogin(account, actions);
  addAccountList(account, actions);
  addAccountShow(account, actions);
  addAccountSet(account, actions);
  addAccountEnable(account, actions);
  addAccountReplace(account, actions);
  addAccountRemove(account, actions);
  addAccountImport(account, actions);
  addAccountExport(account, actions);
  addKeys(program, actions);
  addPool(program, actions);
  addStatus(program, actions);
  addWhy(program, actions);
  addUsage(program, actions);
  addAudit(program, actions);
  addVault(program, actions);
  addDoctor(program, actions);
  addBackup(program, actions);
  addRestore(program, actions);
  addMigrate(program, actions);
  addImportConfig(program, actions);
  addSandbox(program, actions);
  addSettings(program, actions);
  addConfig(program, actions);
  return program;
}

/**
 * Runs the command that `words` spell and answers the exit code: 0 done, 1 failed, 2 called wrongly.
 * What went wrong is written to `actions.writeError`; nothing is thrown.
 *
 * @example
 * process.exitCode = await runProgram(actions, process.argv.slice(2));
 */
export async function runProgram(actions: CliActions, words: readonly string[]): Promise<0 | 1 | 2> {
  try {
    await createProgram(actions).parseAsync(words, { from: 'user' });
    return 0;
  } catch (error) {
    // Commander has written its own message, or the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const message = errorMessage(error);
    const advice = isOfAnotherRelease(error)
      ? ' The pool that runs is of another release than this command: restart its service.'
      : '';
    actions.writeError(`warp2api: ${message}${advice}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** What a pool says to a call or a field that it does not know. */
function isOfAnotherRelease(error: unknown): boolean {
  if (!(error instanceof PoolError)) return false;
  return error.code === 'not_found' || error.message.startsWith('There is no field "');
}
