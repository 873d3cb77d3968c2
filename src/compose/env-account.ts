import type { Logger } from '../lib/log/logger.ts';
import type { PoolService } from '../pool/index.ts';
import type { Account } from '../pool-api/account-schema.ts';
import { isPoolError } from '../pool-api/errors.ts';
import { refusalOf } from '../pool-api/readiness.ts';
import type { AccountState } from '../pool-api/schema.ts';

type EnvPool = Pick<PoolService, 'ensureEnvAccount' | 'get' | 'events'>;

/** The account of a key in the environment: the log says so whenever it can serve no turn, at the start and later. */
export class EnvAccount {
  readonly #provider: string;
  readonly #setting: string;
  readonly #pool: EnvPool;
  readonly #logger: Logger;
  #id: string | undefined;
  #said: AccountState | undefined;

  constructor(place: { provider: string; setting: string }, pool: EnvPool, logger: Logger) {
    this.#provider = place.provider;
    this.#setting = place.setting;
    this.#pool = pool;
    this.#logger = logger;
    pool.events.listen(({ event }) => {
      if (event.type === 'account-changed' && event.account_id === this.#id) this.#changed(event.status);
    });
  }

  get #takeOut(): string {
    return `or take ${this.#setting} out of the environment and of .env`;
  }

  async add(key: string): Promise<void> {
    let account: Account | null;
    try {
      account = await this.#pool.ensureEnvAccount(this.#provider, key);
    } catch (error) {
      if (!isPoolError(error, 'invalid_request')) throw error;
      this.#logger.warn(
        `${this.#setting} is not a key, and no account was added for it: ${error.message} Correct it and start again, ${this.#takeOut}.`,
      );
      return;
    }
    if (account === null) {
      this.#logger.warn(
        `${this.#setting} has no account: its owner has removed it, and it stays out until the value changes. Add it with "warp2api account add --provider ${this.#provider} --api-key -", ${this.#takeOut}.`,
      );
      return;
    }
    this.#id = account.id;
    this.#tell(account);
  }

  #changed(status: AccountState): void {
    const isOut = status === 'reauth_required' || status === 'disabled';
    if (!isOut) this.#said = undefined;
    if (!isOut || this.#said === status || this.#id === undefined) return;
    this.#said = status;
    this.#pool.get(this.#id).then(
      ({ account }) => this.#tell(account),
      // Removed meanwhile, or the pool is closing.
      (error: unknown) =>
        this.#logger.debug({ err: error }, `the account of ${this.#setting} cannot be read`),
    );
  }

  #tell(account: Account): void {
    const { id, status, probe } = account;
    const why = refusalOf(account);
    if (why !== undefined) {
      this.#said = status;
      const advice =
        status === 'disabled'
          ? `Put it back with "warp2api account enable ${id}"`
          : `Set a key that works and start again, try this one again with "warp2api account enable ${id}"`;
      this.#logger.warn(
        { account_id: id, status },
        `${this.#setting} answers no turn, because ${why}. ${advice}, ${this.#takeOut}.`,
      );
    } else if (probe === 'unproved') {
      this.#logger.warn(
        { account_id: id },
        `${this.#setting} is not proved yet: its provider could not be asked about it, or did not say. It is used, and asked about again; "warp2api doctor" says whether the provider can be reached.`,
      );
    }
  }
}
