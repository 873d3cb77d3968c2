import { createHash } from 'node:crypto';
import {
  copyFileSync,
  createReadStream,
  existsSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { absoluteDatabaseUrl, type Config } from '../config.ts';
import { DatabaseError } from '../db/database.ts';
import { holdSqlite } from '../db/sqlite.ts';
import { copyDatabase } from '../db/sqlite-copies.ts';
import { systemClock } from '../lib/clock.ts';
import { errorCode, errorMessage } from '../lib/errors.ts';
import { makeFolder, syncFile, syncFolder } from '../lib/files.ts';
import type { Logger } from '../lib/log/logger.ts';
import { version } from '../lib/version.ts';
import type { MovedRows, Rotation } from '../pool/index.ts';
import { closeDataFolder, vaultPlace } from './build-pool.ts';
import { commandLine } from './open-pool.ts';

// What needs the store for itself.

/** Seals all credentials under another master key. Throws when a service holds the store. */
export async function rotateMasterKey(config: Config, newKeyFile: string | undefined): Promise<Rotation> {
  const place = vaultPlace(config);
  closeDataFolder(config);
  const { openStore, openVault, rotateKey } = await import('../pool/index.ts');
  const store = await openStore(config.databaseUrl, {
    clock: systemClock,
    exclusive: true,
    onLost() {},
  }).catch((error: unknown) => {
    if (!(error instanceof DatabaseError) || error.code !== 'database_in_use') throw error;
    throw new Error(`The key is rotated while no service runs. ${error.message}`, { cause: error });
  });
  const now = store.clock.now();
  try {
    const vault = await openVault({ store, ...place, now });
    return await rotateKey({ store, vault, place, now, actor: commandLine.keyId, newKeyFile });
  } finally {
    await store.close();
  }
}

/** Moves the pool from SQLite to PostgreSQL. Throws when a service holds either. */
export async function movePool(
  config: Config,
  { from, to }: { readonly from?: string | undefined; readonly to: string },
): Promise<MovedRows> {
  config.secrets.addUrl(to);
  config.secrets.addUrl(from);
  const { moveStore } = await import('../pool/index.ts');
  closeDataFolder(config);
  const source = from === undefined ? config.databaseUrl : absoluteDatabaseUrl(from, config.dataDir);
  return moveStore(source, to, systemClock.now());
}

/** What may not be lost. Conversations and stored responses may be, and are in no backup. */
const names = ['accounts', 'usage'] as const;
type Name = (typeof names)[number];

const manifestName = 'backup.json';
const manifestSchema = z.object({
  format: z.literal(1),
  version: z.string(),
  made_at: z.string(),
  files: z.array(z.object({ name: z.enum(names), bytes: z.number(), sha256: z.string() })).min(1),
});
type Manifest = z.infer<typeof manifestSchema>;

export interface Backup {
  readonly folder: string;
  readonly files: readonly { readonly name: Name; readonly path: string; readonly bytes: number }[];
  /** What is not in it, and how to keep that. */
  readonly notes: readonly string[];
}

/**
 * Copies the databases that are files into a new folder, while the services run or not. The folder appears when it is whole.
 * Throws with a message that says what to do.
 */
export async function backUp(config: Config, given: string): Promise<Backup> {
  const folder = resolve(given);
  if (existsSync(folder)) throw new Error(`${folder} is there already: name a folder that is not.`);
  const { files, servers } = databasesOf(config);
  const present = files.filter(({ path }) => existsSync(path));
  if (present.length === 0) {
    const places = files.map(({ path }) => path).join(', ');
    if (servers.length > 0) throw new Error(servers.join('\n'));
    throw new Error(
      places === ''
        ? 'The databases are in memory, which cannot be copied.'
        : `There is no database at ${places}.`,
    );
  }
  makeFolder(dirname(folder));
  const draft = makeDraft(folder);
  try {
    const copied: Manifest['files'] = [];
    for (const { name, path } of present) {
      const copy = join(draft, `${name}.db`);
      await copyDatabase(path, copy, systemClock.now());
      checkDatabase(copy);
      copied.push({ name, bytes: statSync(copy).size, sha256: await digestOf(copy) });
    }
    const manifest: Manifest = {
      format: 1,
      version,
      made_at: new Date(systemClock.now()).toISOString(),
      files: copied,
    };
    const text = `${JSON.stringify(manifest, undefined, 2)}\n`;
    writeFileSync(join(draft, manifestName), text, { mode: 0o600, flush: true });
    syncFolder(join(draft, manifestName));
    if (existsSync(folder))
      throw new Error(`${folder} was made by another command meanwhile: name another one.`);
    renameSync(draft, folder);
    syncFolder(folder);
    return {
      folder,
      files: copied.map(({ name, bytes }) => ({ name, path: join(folder, `${name}.db`), bytes })),
      notes: [...servers, ...(copied.some(({ name }) => name === 'accounts') ? [keyNote(config)] : [])],
    };
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

function makeDraft(folder: string): string {
  try {
    return mkdtempSync(`${folder}.partial-`);
  } catch (error) {
    throw new Error(
      `Nothing can be written to ${dirname(folder)} (${errorCode(error)}): name a folder in a place this user may write to.`,
      { cause: error },
    );
  }
}

/**
 * Puts the databases of a backup in their places while no service runs, each checked first and brought to this release's
 * schema. With `replaces` those that are there are kept beside them. Throws with a message that says what to do.
 */
export async function restore(
  config: Config,
  given: string,
  replaces: boolean,
): Promise<{ readonly restored: readonly string[]; readonly kept: readonly string[] }> {
  const folder = resolve(given);
  const manifest = readManifest(folder);
  const { files } = databasesOf(config);
  const wanted = manifest.files.map((file) => {
    const path = files.find(({ name }) => name === file.name)?.path;
    if (path !== undefined) return { ...file, source: join(folder, `${file.name}.db`), path };
    throw new Error(
      `The backup has ${file.name}.db, and that is kept in PostgreSQL here: restore it with DATABASE_URL and GATEWAY_DATABASE_URL naming files, and then move it with "warp2api migrate".`,
    );
  });
  const present = wanted.filter(({ path }) => existsSync(path));
  if (present.length > 0 && !replaces) {
    const places = present.map(({ path }) => path).join(' and ');
    throw new Error(`${places} would be replaced: give --force if that is meant.`);
  }
  for (const { source, bytes, sha256 } of wanted) {
    const found = statSync(source, { throwIfNoEntry: false });
    if (found?.size !== bytes || (await digestOf(source)) !== sha256) {
      throw new Error(
        `${source} is not as it was written (${found?.size ?? 0} of ${bytes} bytes): take another backup.`,
      );
    }
  }
  makeFolder(config.dataDir, 'DATA_DIR');
  closeDataFolder(config);
  const drafts = wanted.map(({ path }) => `${path}.restored`);
  const held: Disposable[] = [];
  try {
    // Until they are replaced, so that no service has them open.
    for (const { path } of present) held.push(hold(path));
    for (const [at, { name, source }] of wanted.entries()) {
      const draft = drafts[at] as string;
      removeDatabase(draft);
      makeFolder(dirname(draft));
      copyFileSync(source, draft);
      checkDatabase(draft);
      await (name === 'accounts' ? openAccounts(config, draft) : openUsage(draft));
      syncFile(draft);
    }
  } catch (error) {
    for (const draft of drafts) removeDatabase(draft);
    throw error;
  } finally {
    for (const one of held) one[Symbol.dispose]();
  }
  const kept: string[] = [];
  for (const [at, { path }] of wanted.entries()) {
    if (existsSync(path)) kept.push(keepBeside(path));
    removeLogs(path);
    renameSync(drafts[at] as string, path);
    syncFolder(path);
  }
  return { restored: wanted.map(({ path }) => path), kept };
}

/** The databases by what is in them: files with their places, and how to back up those of a server. */
function databasesOf(config: Config) {
  const urls = [
    { name: 'accounts', url: config.databaseUrl, setting: 'DATABASE_URL' },
    { name: 'usage', url: config.gateway.databaseUrl, setting: 'GATEWAY_DATABASE_URL' },
  ] as const;
  const files: { readonly name: Name; readonly path: string }[] = [];
  const servers: string[] = [];
  for (const { name, url, setting } of urls) {
    if (url.startsWith('sqlite:')) {
      const path = url.slice('sqlite:'.length);
      if (path !== ':memory:') files.push({ name, path });
    } else if (name === 'accounts' || url !== config.databaseUrl) {
      servers.push(
        `What ${setting} names is in PostgreSQL: pg_dump --format=custom --file=${name}.dump "$${setting}" backs it up while it runs.`,
      );
    }
  }
  return { files, servers };
}

function keyNote(config: Config): string {
  const { masterKey, masterKeyFile, defaultKeyFile } = vaultPlace(config);
  const place = masterKey === undefined ? (masterKeyFile ?? defaultKeyFile) : 'MASTER_KEY';
  return `The master key (${place}) is not in it, and without it the credentials cannot be opened: keep a copy of it somewhere else.`;
}

/** Throws where a copy is damaged, or is no database. */
function checkDatabase(path: string): void {
  let fault: unknown;
  try {
    const database = new DatabaseSync(path);
    try {
      // One file, without a log beside it.
      database.exec('PRAGMA journal_mode = DELETE');
      const { integrity_check } = database.prepare('PRAGMA integrity_check').get() ?? {};
      if (integrity_check !== 'ok') fault = integrity_check;
    } finally {
      database.close();
    }
  } catch (error) {
    fault = errorMessage(error);
  }
  if (fault !== undefined) throw new Error(`${path} is damaged: ${fault}.`);
}

/** Throws DatabaseError `database_in_use`. One that is damaged may be replaced. */
function hold(path: string): Disposable {
  try {
    const held = holdSqlite(path, systemClock.now());
    return { [Symbol.dispose]: () => held.close() };
  } catch (error) {
    if (error instanceof DatabaseError && error.code === 'database_in_use') throw error;
    return { [Symbol.dispose]() {} };
  }
}

/** Brings a restored file to this release's schema and sees that the master key is the one it was sealed with. */
async function openAccounts(config: Config, path: string): Promise<void> {
  const { openStore, openVault } = await import('../pool/index.ts');
  const store = await openStore(`sqlite:${path}`, { clock: systemClock, onLost() {} });
  try {
    await openVault({ store, ...vaultPlace(config), now: systemClock.now() });
  } finally {
    await store.close();
  }
}

async function openUsage(path: string): Promise<void> {
  const { openSqliteVerbs } = await import('../gateway/database/sqlite-verbs.ts');
  await openSqliteVerbs(path, systemClock.now()).close();
}

/** Opens the database of client keys and usage as a gateway would. Throws DatabaseError where it cannot be used. */
export async function tryGatewayDatabase(
  config: Config,
  logger: Logger,
): Promise<{ readonly hasKeys: boolean }> {
  const { GatewayDatabase } = await import('../gateway/database/gateway-database.ts');
  return GatewayDatabase.tryOut({ url: config.gateway.databaseUrl, clock: systemClock, logger });
}

function readManifest(folder: string): Manifest {
  const file = join(folder, manifestName);
  try {
    return manifestSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    const reason = error instanceof z.ZodError ? 'it is of another kind or release' : errorMessage(error);
    throw new Error(`${folder} is no backup that this release reads: ${basename(file)}: ${reason}.`, {
      cause: error,
    });
  }
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Gives a database another name beside its own, under which a service finds one at each moment. */
function keepBeside(path: string): string {
  const before = freeName(`${path}.before-restore`);
  try {
    linkSync(path, before);
  } catch {
    // Some file systems have no hard links.
    renameSync(path, before);
  }
  if (existsSync(`${path}-wal`)) renameSync(`${path}-wal`, `${before}-wal`);
  return before;
}

/** What an earlier restore has kept may be what is wanted in the end. */
function freeName(wanted: string): string {
  let name = wanted;
  for (let number = 2; ['', '-wal'].some((ending) => existsSync(name + ending)); number += 1) {
    name = `${wanted}-${number}`;
  }
  return name;
}

function removeDatabase(path: string): void {
  rmSync(path, { force: true });
  removeLogs(path);
}

function removeLogs(path: string): void {
  for (const ending of ['-wal', '-shm', '.holder']) rmSync(path + ending, { force: true });
}
