import { type DatabaseClock, DatabaseError, openDatabaseClock } from '../../db/database.ts';
import { openThread, type RemoteVerbs } from '../../db/verbs.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log/logger.ts';
import { type GatewayVerbs, gatewayMigrations, gatewayVerbs, planning } from './gateway-verbs.ts';

export interface GatewayDatabaseOptions {
  /** `sqlite:` and an absolute path or `:memory:`, or `postgres://…`. */
  readonly url: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

type Verbs = RemoteVerbs<GatewayVerbs>;

const openAgainMs = 5_000;

/**
 * What the gateway must not lose: client keys, what they have used, the usage ledger. While it cannot be reached the gateway
 * goes on with what it knows.
 */
export class GatewayDatabase {
  /** Several gateways may work on it at the same time. */
  readonly isShared: boolean;
  readonly #options: GatewayDatabaseOptions;
  #verbs: Verbs | undefined;
  /** Of the server, where there is one. */
  #isUnreachable: () => boolean = () => false;
  #cancelOpening = (): void => {};
  #opening: Promise<void> | undefined;
  #clock: DatabaseClock | undefined;
  #isTroubleSaid = false;
  #isClosed = false;

  private constructor(options: GatewayDatabaseOptions) {
    this.#options = options;
    this.isShared = !options.url.startsWith('sqlite:');
  }

  /** Where it cannot be opened now it is tried again. Throws DatabaseError `database_too_new`. */
  static async open(options: GatewayDatabaseOptions): Promise<GatewayDatabase> {
    const database = new GatewayDatabase(options);
    await database.#open();
    return database;
  }

  /** Opens it as a gateway would, and closes it again; answers whether a client key was ever made. Throws DatabaseError. */
  static async tryOut(options: GatewayDatabaseOptions): Promise<{ readonly hasKeys: boolean }> {
    const database = new GatewayDatabase(options);
    database.#verbs = await database.#connect();
    try {
      const keys = await database.#verbs.keyPage({ before: undefined, limit: 1, withRevoked: true });
      return { hasKeys: keys.length > 0 };
    } finally {
      await database.close();
    }
  }

  get isReachable(): boolean {
    return this.#verbs !== undefined && !this.#isUnreachable();
  }

  /** The time by which all who share it go. */
  now(): number {
    return (this.#clock ?? this.#options.clock).now();
  }

  /** Rejects with DatabaseError: `database_unreachable` also while it is not open. */
  async ask<Answer>(question: (verbs: Verbs) => Promise<Answer>): Promise<Answer> {
    if (this.#verbs) return question(this.#verbs);
    const message = 'The database of GATEWAY_DATABASE_URL is not open; it is tried again in a few seconds.';
    throw new DatabaseError('database_unreachable', message);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelOpening();
    await this.#opening;
    this.#clock?.close();
    await this.#verbs?.close();
  }

  async #open(): Promise<void> {
    const { logger } = this.#options;
    try {
      this.#verbs = await this.#connect();
      if (this.#isTroubleSaid) logger.info('the database of client keys and usage can be used again');
      this.#isTroubleSaid = false;
    } catch (error) {
      if (error instanceof DatabaseError && error.code === 'database_too_new') throw error;
      this.#say(error);
      this.#openLater();
    }
  }

  #openLater(): void {
    if (this.#isClosed) return;
    const { clock, logger } = this.#options;
    this.#cancelOpening = clock.after(openAgainMs, () => {
      this.#opening = this.#open().catch((error: unknown) => {
        logger.error({ err: error }, 'the database of client keys and usage cannot be opened');
      });
    });
  }

  #say(error: unknown): void {
    if (this.#isTroubleSaid) return;
    this.#isTroubleSaid = true;
    this.#options.logger.warn(
      { err: error },
      'the database of GATEWAY_DATABASE_URL cannot be used: client keys that are known and usage go on from memory until it can',
    );
  }

  async #connect(): Promise<Verbs> {
    const { url, clock } = this.#options;
    if (!url.startsWith('sqlite:')) return this.#connectPostgres();
    const path = url.slice('sqlite:'.length);
    if (path === ':memory:') {
      const { openSqliteVerbs } = await import('./sqlite-verbs.ts');
      return openSqliteVerbs(path, clock.now()) as Verbs;
    }
    const data = { path, now: clock.now() };
    return openThread<GatewayVerbs>('./database-thread', import.meta.url, data, (error) => {
      this.#verbs = undefined;
      this.#say(error);
      this.#openLater();
    });
  }

  async #connectPostgres(): Promise<Verbs> {
    const { openPostgres } = await import('../../db/postgres.ts');
    const { migratePostgres } = await import('../../db/migrate.ts');
    const { url, clock, logger } = this.#options;
    const db = await openPostgres(url, {
      setting: 'GATEWAY_DATABASE_URL',
      connections: 4,
      patienceMs: 1_000,
      settings: planning,
      onTrouble: (error) => this.#say(error),
      onBack: () => {
        this.#isTroubleSaid = false;
        logger.info('the database of client keys and usage can be used again');
      },
    });
    try {
      await migratePostgres(db, gatewayMigrations('postgres'), clock.now(), 'gateway_migrations');
      this.#clock = await openDatabaseClock(db.reading, clock);
    } catch (error) {
      await db.close();
      throw error;
    }
    this.#isUnreachable = () => !db.isReachable;
    return gatewayVerbs(db) as Verbs;
  }
}
