import type { Command } from 'commander';
import type { CliActions } from './actions.ts';
import { answer } from './answers.ts';
import { formatPairs } from './table.ts';

// Commands on the whole store. All but the backup need it for themselves.

export function addMigrate(parent: Command, actions: CliActions): void {
  const command = parent
    .command('migrate')
    .description('move the whole pool from SQLite to PostgreSQL, while no service runs')
    .requiredOption(
      '--to <url>',
      'postgres://user:password@host/database, or - to read it from standard input',
    )
    .option('--from <url>', 'sqlite: and a file (default: the one DATABASE_URL names)')
    .option('--json', 'print how many rows were moved, by table, as JSON')
    .addHelpText(
      'after',
      `
The database must be there and hold no account. All is moved or nothing; the SQLite file stays as it is.

Example:
  ./stop_services.sh
  warp2api migrate --to postgres://warp2api:password@db.example.com/warp2api`,
    );
  answer(command, actions, async ({ to, from }: { to: string; from?: string }) => {
    const url = to === '-' ? (await actions.readStdin()).trim() : to;
    const moved = await actions.migrate({ to: url, from });
    const text = `${formatPairs(Object.entries(moved))}All ${moved['accounts'] ?? 0} accounts are there. Set DATABASE_URL to it, keep the master key, and start the services.
The SQLite file is as it was: delete it once you are content, for its credentials go on working.\n`;
    return [moved, text];
  });
}

export function addVault(parent: Command, actions: CliActions): void {
  const command = parent
    .command('vault')
    .description('the key that seals the credentials')
    .helpCommand(false)
    .command('rotate')
    .description('seal every credential with another master key, while no service runs')
    .option('--new-key-file <path>', 'take the new key from this file instead of making one')
    .option('--json', 'print what was done as JSON')
    .addHelpText(
      'after',
      `
The former key stays in a file that ends in .old: backups of the database made before need it.

Example:
  ./stop_services.sh && warp2api vault rotate && ./start_services.sh`,
    );
  answer(command, actions, async ({ newKeyFile }: { newKeyFile?: string }) => {
    const rotation = await actions.rotateKey({ newKeyFile });
    const { accounts, keyId, formerKeyId, keyFile, isInEnvironment } = rotation;
    const next = isInEnvironment
      ? `MASTER_KEY still names the former key: set it to the one in ${keyFile} and delete that file, or remove MASTER_KEY and the next start takes the key from there.`
      : `It is in ${keyFile}; the former one is in ${keyFile}.old. Keep that as long as a backup needs it, no longer.`;
    return [
      { accounts, key_id: keyId, former_key_id: formerKeyId, key_file: keyFile },
      `The credentials of ${accounts} accounts are sealed with key ${keyId} now.\n${next}\n`,
    ];
  });
}

export function addBackup(parent: Command, actions: CliActions): void {
  const command = parent
    .command('backup')
    .description('copy the databases into a new folder, also while the services run')
    .argument('<folder>', 'the folder to make; it appears when the backup is whole')
    .option('--json', 'print what is in it as JSON')
    .addHelpText(
      'after',
      `
It holds the accounts, sealed, with sessions and audit, and the keys and the use of clients. The master key is not in it.

Example:
  warp2api backup /var/backups/warp2api/monday`,
    );
  answer(command, actions, async (folder: string) => {
    const backup = await actions.backUp(folder);
    const files = formatPairs(backup.files.map(({ path, bytes }) => [path, `${bytes} bytes`]));
    return [backup, files + backup.notes.map((note) => `${note}\n`).join('')];
  });
}

export function addRestore(parent: Command, actions: CliActions): void {
  const command = parent
    .command('restore')
    .description('put the databases of a backup in their places, while no service runs')
    .argument('<folder>', 'what "warp2api backup" made')
    .option('--force', 'replace the databases that are there; they are kept beside the restored ones')
    .option('--json', 'print what was restored as JSON')
    .addHelpText(
      'after',
      `
Put the master key in its place first: the backup is restored only if the key opens it. Refresh tokens that were used since
the backup are void, and their accounts need a new login.

Example:
  ./stop_services.sh && warp2api restore /var/backups/warp2api/monday && ./start_services.sh`,
    );
  answer(command, actions, async (folder: string, { force = false }: { force?: boolean }) => {
    const { restored, kept } = await actions.restore(folder, force);
    const paths = restored.map((path) => `Restored ${path}.\n`).join('');
    const former = `What was there is in ${kept.join(' and ')}: delete it once you are content.\n`;
    return [{ restored, kept }, kept.length > 0 ? paths + former : paths];
  });
}
