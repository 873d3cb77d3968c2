import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { AppError } from '../../core/errors.ts';
import { shownKeys } from '../../lib/http/callers.ts';
import type { ManagedKeys } from './managed-keys.ts';

/** The key of a client: what is decided for one client is decided by it. */
export interface ClientKey {
  /**
   * Tells clients apart without naming the key: the digest of a configured key, a random secret of a managed one, which
   * survives its rotation. What is kept for a client lies under it.
   */
  readonly id: string;
  /** Any key or none was taken: it counts while that is so. */
  readonly isAnyone?: true;
  /** Absent for API_KEYS, and where any key is taken. */
  readonly managed?: ManagedKey;
}

/** A key that an operator made, as it is now. */
export interface ManagedKey {
  /** Names the key where it may be read: `key_…`. */
  readonly keyId: string;
  /** Unique among all keys. */
  readonly name: string;
  /** Who answers for it, a person or a team. */
  readonly owner: string | null;
  /** Names or patterns with `*` of models; null: all. */
  readonly models: readonly string[] | null;
  /** Names of providers; null: all. */
  readonly providers: readonly string[] | null;
  /** Its turns go only to accounts with one of these labels; null: to any. */
  readonly labels: readonly string[] | null;
  readonly limits: KeyLimits;
  /** Milliseconds since 1970; null: never. */
  readonly expiresAt: number | null;
  readonly isEnabled: boolean;
  /** Grows with every change of any key. */
  readonly revision: number;
}

export interface KeyLimits {
  readonly requests_per_minute?: number | undefined;
  readonly tokens_per_minute?: number | undefined;
  readonly parallel_turns?: number | undefined;
  readonly budgets: readonly KeyBudget[];
  /** The IANA name of the zone whose days, weeks and months count; UTC if absent. */
  readonly time_zone?: string | undefined;
}

export interface KeyBudget {
  readonly meter: 'requests' | 'tokens' | 'cost_cents' | 'credits';
  readonly window: 'day' | 'week' | 'month' | 'total';
  readonly limit: number;
}

export interface KeyedRequest {
  readonly headers: IncomingHttpHeaders;
  readonly url: string;
  readonly raw?: { readonly socket: object };
}

export interface ClientKeysOptions {
  /** Of the configuration. */
  readonly keys: readonly string[];
  /** Where they stand; `API_KEYS` by default. */
  readonly setting?: 'API_KEYS' | 'ADMIN_KEY';
  /** Those that operators have made; absent for the ADMIN_KEY. */
  readonly managed?: Pick<ManagedKeys, 'find' | 'renewed' | 'areKnown' | 'areNone'> | undefined;
  /** Also with no key anywhere: other machines can reach the gateway. */
  readonly isKeyNeeded?: boolean | undefined;
  /** Called for every request whose keys are none of these. */
  readonly onWrongKey?: () => void;
}

/** What a connection has shown last, and whose configured key it was. */
interface Shown {
  readonly keys: readonly string[];
  readonly client: ClientKey;
}

/**
 * Who calls, by the keys of the configuration and those that operators have made. Where there are none, any key or none is taken;
 * the first one shown still tells clients apart.
 */
export class ClientKeys {
  readonly #options: ClientKeysOptions;
  readonly #digests: readonly Buffer[];
  // A connection that shows the same again is known. Only its own last key is compared, so the timing tells it nothing new.
  readonly #lastShown = new WeakMap<object, Shown>();

  constructor(options: ClientKeysOptions) {
    this.#options = options;
    this.#digests = options.keys.map(digest);
  }

  /** Whether any key or none is taken. */
  get areOpen(): boolean {
    const { managed, isKeyNeeded = false } = this.#options;
    return this.#digests.length === 0 && !isKeyNeeded && managed?.areNone !== false;
  }

  /** Who calls. Throws AppError `invalid_key`, or `storage_unavailable` while it is not known which keys there are. */
  identify(request: KeyedRequest): ClientKey {
    const { headers, url, raw } = request;
    const shown = shownKeys(headers, url);
    const last = raw && this.#lastShown.get(raw.socket);
    if (last?.keys.length === shown.length && last.keys.every((key, at) => key === shown[at]))
      return last.client;
    const digests = shown.map(digest);
    // Every digest is compared, in constant time each: the answer's timing tells nothing about the keys.
    const isConfigured = (one: Buffer): boolean =>
      this.#digests.map((known) => timingSafeEqual(known, one)).includes(true);
    const configured = digests.filter(isConfigured)[0];
    if (configured !== undefined) {
      const client = clientOf(configured);
      if (raw) this.#lastShown.set(raw.socket, { keys: shown, client });
      return client;
    }
    return this.#managedIn(digests) ?? this.#anyIn(digests) ?? this.#refuse(shown, headers);
  }

  /** The same client as its key is now. Throws as `identify` does where that is not good any more. */
  renewed(client: ClientKey): ClientKey {
    const { managed } = this.#options;
    if (client.managed && managed) return managed.renewed(client);
    return client.isAnyone && !this.areOpen ? this.#refuse([], {}) : client;
  }

  /** Why the client's key is not good any more; undefined: it is. */
  faultOf(client: ClientKey): AppError | undefined {
    try {
      this.renewed(client);
      return undefined;
    } catch (error) {
      return AppError.from(error);
    }
  }

  /** One of those made by operators. One that is good counts also beside one that is not. */
  #managedIn(digests: readonly Buffer[]): ClientKey | undefined {
    let fault: unknown;
    for (const one of digests) {
      try {
        const client = this.#options.managed?.find(one.toString('base64url'));
        if (client) return client;
      } catch (error) {
        fault ??= error;
      }
    }
    if (fault !== undefined) throw fault;
    return undefined;
  }

  #anyIn([first = digest('')]: readonly Buffer[]): ClientKey | undefined {
    return this.areOpen ? { ...clientOf(first), isAnyone: true } : undefined;
  }

  #refuse(shown: readonly string[], { authorization }: IncomingHttpHeaders): never {
    const { keys, managed, setting = 'API_KEYS', onWrongKey } = this.#options;
    const mayBeManaged = shown.length > 0 || keys.length === 0;
    if (managed && !managed.areKnown && mayBeManaged) {
      const message =
        'The gateway cannot read its client keys yet; try again in a moment. If it lasts, its log and /health say why.';
      throw new AppError('storage_unavailable', message, { retryAfterMs: 5_000 });
    }
    if (shown.length > 0) onWrongKey?.();
    const [named, none] =
      setting === 'ADMIN_KEY'
        ? ['the ADMIN_KEY', 'not the ADMIN_KEY']
        : keys.length === 0 || managed?.areNone === false
          ? ['a key that this gateway has issued', 'none that this gateway has issued']
          : ["one of this gateway's API_KEYS", "none of this gateway's API_KEYS"];
    const isMisplaced = shown.length === 0 && authorization !== undefined;
    const missing = isMisplaced ? 'The header Authorization is not "Bearer KEY"' : 'No key was sent';
    throw new AppError(
      'invalid_key',
      shown.length === 0
        ? `${missing}: send ${named} as "Authorization: Bearer KEY" or "x-api-key: KEY".`
        : `The key is ${none}: check what is sent as "Authorization: Bearer KEY" or "x-api-key: KEY".`,
    );
  }
}

function clientOf(shown: Buffer): ClientKey {
  return { id: shown.toString('base64url') };
}

function digest(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
