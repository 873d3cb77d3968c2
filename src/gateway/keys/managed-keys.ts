import { hash, randomBytes } from 'node:crypto';
import { AppError } from '../../core/errors.ts';
import { DatabaseError } from '../../db/database.ts';
import type { RemoteVerbs } from '../../db/verbs.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import type { ClientKey } from './client-key.ts';
import type { KeyChange, KeyWritten, keyVerbs, NewKey, StoredKey } from './key-verbs.ts';

type Verbs = RemoteVerbs<ReturnType<typeof keyVerbs>>;

export interface ManagedKeysOptions {
  /** Where the keys are; several gateways may share it. */
  readonly database: {
    readonly isShared: boolean;
    ask<Answer>(question: (verbs: Verbs) => Promise<Answer>): Promise<Answer>;
  };
  /** The turns of a revoked key end. */
  readonly running: { endOf(clientId: string, error: AppError): void };
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What an operator says of a new key. */
export type AskedKey = Pick<
  NewKey,
  'name' | 'owner' | 'models' | 'providers' | 'labels' | 'limits' | 'expiresAt'
>;

/** A secret that opens a key. */
interface Opening {
  readonly key: StoredKey;
  readonly client: ClientKey;
  /** Of the one before the last rotation. */
  readonly goodUntil: number | null;
}

/** A change made elsewhere counts here after this time and as long as the question takes. */
const lookEveryMs = 500;
/** Where no other gateway makes changes, the keys are read once: again only while that failed. */
const readAgainMs = 2_000;
const noteUseEveryMs = 15_000;
const secretBytes = 32;
/** Enough to tell keys apart, and of no use for guessing the rest. */
const prefixLength = 'w2a_'.length + 6;

/**
 * The keys that operators have made. All are in memory, so that a caller is known without a question to the database; what
 * other gateways change is read twice a second. While the database is unreachable the known keys go on.
 */
export class ManagedKeys {
  readonly #options: ManagedKeysOptions;
  readonly #keys = new Map<string, StoredKey>();
  /** By the digest of the secret. */
  readonly #openings = new Map<string, Opening>();
  /** The digest of the secret that a client has shown. */
  readonly #shown = new WeakMap<ClientKey, string>();
  /** The last use of keys, until it is written. */
  #uses = new Map<string, number>();
  #revision = 0;
  #isRead = false;
  #hasFailed = false;
  #reading: Promise<void> | undefined;
  #isClosed = false;
  #cancelLook = (): void => {};
  #cancelNote = (): void => {};

  constructor(options: ManagedKeysOptions) {
    this.#options = options;
  }

  /** Resolves when they were read, or when that has failed and is tried again. */
  async open(): Promise<void> {
    await this.#look();
    this.#noteLater();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelLook();
    this.#cancelNote();
    await this.#reading;
    await this.#noteUses();
  }

  /** False until the database could be read once: whether there are keys is not known. */
  get areKnown(): boolean {
    return this.#isRead;
  }

  now(): number {
    return this.#options.clock.now();
  }

  get areNone(): boolean {
    return this.#isRead && this.#keys.size === 0;
  }

  /** False where the keys are known and none has it. */
  mayHaveName(name: string): boolean {
    return !this.#isRead || this.#keys.values().some((key) => key.name === name);
  }

  /** Whether it is the digest of a key's secret, whatever has become of the key. */
  has(digest: string): boolean {
    return this.#openings.has(digest);
  }

  /** Whose secret has that digest; undefined: no key's. Throws AppError `invalid_key` where the key is not good now. */
  find(digest: string): ClientKey | undefined {
    const opening = this.#openings.get(digest);
    if (!opening) return undefined;
    const now = this.now();
    const fault = faultOf(opening, now);
    if (fault !== undefined) throw new AppError('invalid_key', fault);
    this.#uses.set(opening.key.keyId, now);
    return opening.client;
  }

  /** The same client as its key is now. Throws AppError `invalid_key` where that is not good any more. */
  renewed(client: ClientKey): ClientKey {
    const digest = this.#shown.get(client);
    if (digest === undefined) return client;
    const found = this.find(digest);
    if (found) return found;
    throw new AppError('invalid_key', hasOtherSecret(client.managed?.name));
  }

  /** With the secret, which is stored nowhere. Rejects with AppError. */
  async create(asked: AskedKey): Promise<{ readonly key: StoredKey; readonly secret: string }> {
    const { secret, ...stored } = this.#newSecret();
    const written = await this.#write((verbs) =>
      verbs.createKey({
        ...asked,
        ...stored,
        keyId: `key_${randomBytes(12).toString('base64url')}`,
        clientId: randomBytes(32).toString('base64url'),
        isEnabled: true,
        createdAt: this.now(),
      }),
    );
    return { key: this.#accept(written, asked.name), secret };
  }

  async change(keyId: string, change: KeyChange): Promise<StoredKey> {
    return this.#accept(await this.#write((verbs) => verbs.changeKey(keyId, change)), change.name);
  }

  /** The present secret stays good for `graceMs`. */
  async rotate(
    keyId: string,
    graceMs: number,
  ): Promise<{ readonly key: StoredKey; readonly secret: string }> {
    const { secret, ...stored } = this.#newSecret();
    const formerUntil = this.now() + graceMs;
    const written = await this.#write((verbs) => verbs.rotateKey(keyId, { ...stored, formerUntil }));
    return { key: this.#accept(written), secret };
  }

  async revoke(keyId: string): Promise<StoredKey> {
    return this.change(keyId, { revokedAt: this.now() });
  }

  /** By its id or name, as the database has it. Rejects with AppError. */
  async get(idOrName: string): Promise<StoredKey> {
    const key = await this.#ask((verbs) => verbs.findKey(idOrName));
    if (key) return this.#withUse(key);
    throw new AppError('not_found', `There is no client key "${idOrName.slice(0, 100)}".`);
  }

  /** The newest first. Rejects with AppError. */
  async page(query: Parameters<Verbs['keyPage']>[0]): Promise<readonly StoredKey[]> {
    const keys = await this.#ask((verbs) => verbs.keyPage(query));
    return keys.map((key) => this.#withUse(key));
  }

  #withUse(key: StoredKey): StoredKey {
    const used = this.#uses.get(key.keyId);
    return used === undefined ? key : { ...key, lastUsedAt: Math.max(used, key.lastUsedAt ?? 0) };
  }

  #newSecret(): { readonly secret: string } & Pick<NewKey, 'digest' | 'prefix'> {
    const secret = `w2a_${randomBytes(secretBytes).toString('base64url')}`;
    return { secret, digest: digestOf(secret), prefix: secret.slice(0, prefixLength) };
  }

  /** `isOwners`: the error is for the owner, who may see where the database is. */
  async #ask<Answer>(question: (verbs: Verbs) => Promise<Answer>, isOwners = false): Promise<Answer> {
    try {
      return await this.#options.database.ask(question);
    } catch (cause) {
      const message =
        isOwners && cause instanceof DatabaseError && cause.code === 'database_unusable'
          ? cause.message
          : 'The database of client keys cannot be reached; try again in a moment. If it lasts, check that it runs and that GATEWAY_DATABASE_URL is right.';
      throw new AppError('storage_unavailable', message, { cause, retryAfterMs: 5_000 });
    }
  }

  /** What is written counts here when this resolves. */
  async #write(question: (verbs: Verbs) => Promise<KeyWritten>): Promise<KeyWritten> {
    const written = await this.#ask(question, true);
    if ('key' in written) this.#apply(written.key);
    return written;
  }

  #accept(written: KeyWritten, name = ''): StoredKey {
    if ('key' in written) return written.key;
    switch (written.fault) {
      case 'not_found':
        throw new AppError('not_found', 'There is no such client key.');
      case 'name_taken': {
        const message = `name: there is another key "${name}": choose another name, or revoke that key first.`;
        throw new AppError('invalid_request', message, { param: 'name' });
      }
      case 'revoked': {
        const message = 'The key was revoked, and that is for good: make another one.';
        throw new AppError('invalid_request', message);
      }
    }
  }

  async #look(): Promise<void> {
    this.#reading = this.#read();
    await this.#reading;
    if (this.#isClosed) return;
    const { clock, database } = this.#options;
    if (database.isShared) this.#cancelLook = clock.after(lookEveryMs, () => void this.#look());
    else if (!this.#isRead) this.#cancelLook = clock.after(readAgainMs, () => void this.#look());
  }

  async #read(): Promise<void> {
    const { database, logger } = this.#options;
    try {
      const changed = await database.ask((verbs) => verbs.keysSince(this.#revision));
      for (const key of changed) {
        this.#apply(key);
        this.#revision = key.revision;
      }
      if (this.#hasFailed) logger.info('client keys can be read again');
      this.#isRead = true;
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed) {
        logger.warn(
          { err: error },
          this.#isRead
            ? 'client keys cannot be read: those that are known go on as they are'
            : 'client keys cannot be read: clients get 503 until they can, unless they have one of API_KEYS',
        );
      }
      this.#hasFailed = true;
    }
  }

  /** What was read may be older than what was written here since. */
  #apply(key: StoredKey): void {
    const known = this.#keys.get(key.keyId);
    if (known && known.revision >= key.revision) return;
    for (const digest of digestsOf(known)) this.#openings.delete(digest);
    this.#keys.set(key.keyId, key);
    const { keyId, name, owner, models, providers, labels, limits, expiresAt, isEnabled, revision } = key;
    const managed = { keyId, name, owner, models, providers, labels, limits, expiresAt, isEnabled, revision };
    for (const digest of digestsOf(key)) {
      const goodUntil = digest === key.digest ? null : key.formerUntil;
      const client = { id: key.clientId, managed };
      this.#shown.set(client, digest);
      this.#openings.set(digest, { key, client, goodUntil });
    }
    if (key.revokedAt === null || !known || known.revokedAt !== null) return;
    this.#options.running.endOf(key.clientId, new AppError('invalid_key', wasRevoked(key)));
  }

  #noteLater(): void {
    this.#cancelNote = this.#options.clock.after(noteUseEveryMs, async () => {
      await this.#noteUses();
      if (!this.#isClosed) this.#noteLater();
    });
  }

  async #noteUses(): Promise<void> {
    const uses = this.#uses;
    if (uses.size === 0) return;
    this.#uses = new Map();
    const rows = [...uses].map(([key_id, at]) => ({ key_id, at }));
    try {
      await this.#options.database.ask((verbs) => verbs.noteKeyUse(rows));
    } catch {
      // Said by the database itself. They are written with the next.
      this.#uses = new Map([...uses, ...this.#uses]);
    }
  }
}

/** How a secret is found. One of so many random bits needs no slow hash. */
export function digestOf(secret: string): string {
  return hash('sha256', secret, 'base64url');
}

function digestsOf(key: StoredKey | undefined): readonly string[] {
  if (!key) return [];
  return key.formerDigest === null ? [key.digest] : [key.formerDigest, key.digest];
}

function wasRevoked({ name }: StoredKey): string {
  return `The key "${name}" was revoked: ask the operator of this gateway for another one.`;
}

/** Why the secret does not open its key now; undefined: it does. */
function faultOf({ key, goodUntil }: Opening, now: number): string | undefined {
  const { name, revokedAt, isEnabled, expiresAt } = key;
  if (revokedAt !== null) return wasRevoked(key);
  if (!isEnabled) return `The key "${name}" is disabled: ask the operator of this gateway to enable it.`;
  if (expiresAt !== null && expiresAt <= now) {
    return `The key "${name}" expired at ${new Date(expiresAt).toISOString()}: ask the operator of this gateway for another one.`;
  }
  return goodUntil !== null && goodUntil <= now ? hasOtherSecret(name) : undefined;
}

function hasOtherSecret(name: string | undefined): string {
  return `The key "${name}" has another secret now: use that one.`;
}
