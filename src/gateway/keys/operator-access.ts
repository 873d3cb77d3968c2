import type { FastifyRequest } from 'fastify';
import { AppError } from '../../core/errors.ts';
import { isLoopbackHost } from '../../lib/addresses/loopback.ts';
import { isOfOwnOrigin, shownKeys } from '../../lib/http/callers.ts';
import { ClientKeys, type KeyedRequest } from './client-key.ts';
import { digestOf, type ManagedKeys } from './managed-keys.ts';

export interface OperatorAccessOptions {
  readonly adminKey: string | undefined;
  readonly apiKeys: readonly string[];
  readonly managed: Pick<ManagedKeys, 'has' | 'areNone'> | undefined;
  readonly onWrongKey: () => void;
}

/** Headers that a proxy adds: who calls through one may be anywhere. */
const forwarding = ['forwarded', 'x-forwarded-for', 'x-real-ip'];

/**
 * What opens the routes of the operator: the ADMIN_KEY; without one an API key; without any, who is on this machine. Never a key
 * that was made for a client.
 */
export class OperatorAccess {
  readonly #options: OperatorAccessOptions;
  readonly #keys: ClientKeys;

  constructor(options: OperatorAccessOptions) {
    const { adminKey, apiKeys, onWrongKey } = options;
    this.#options = options;
    this.#keys =
      adminKey === undefined
        ? new ClientKeys({ keys: apiKeys, onWrongKey })
        : new ClientKeys({ keys: [adminKey], setting: 'ADMIN_KEY', onWrongKey });
  }

  /** Who calls, for the server. `shown`: the request with the key that a session of the page has. Throws AppError. */
  check(request: FastifyRequest, shown: KeyedRequest): string {
    const { adminKey, managed } = this.#options;
    const { id } = this.#keys.identify(shown);
    if (adminKey === undefined && this.#keys.areOpen && managed?.areNone === false) this.#mustBeHere(request);
    return id;
  }

  /** The same for changes of who may call, and for the pool: an API key is a client's, and not enough. */
  checkStrictly(request: FastifyRequest, shown: KeyedRequest): string {
    const { adminKey, apiKeys } = this.#options;
    const { id } = this.#keys.identify(shown);
    if (adminKey !== undefined) return id;
    if (apiKeys.length > 0) {
      const reason =
        'Keys are made and changed with the ADMIN_KEY, and so is the pool from here: set it, beside API_KEYS.';
      throw new AppError('operator_only', reason);
    }
    this.#mustBeHere(request);
    return id;
  }

  #mustBeHere(request: FastifyRequest): void {
    // A client that shows its key says who it is: not the operator.
    const shown = shownKeys(request.headers, request.url);
    const isClient = shown.some((key) => this.#options.managed?.has(digestOf(key)));
    if (!isClient && isOnThisMachine(request)) return;
    throw new AppError(
      'operator_only',
      isClient
        ? 'The key of a client does not open this: it is for the operator of the gateway.'
        : 'This is for the operator of the gateway: call it on the machine of the gateway, or set ADMIN_KEY and send that.',
    );
  }
}

/** Called by a program here, and not through a proxy or by a page of another site in a browser here. */
function isOnThisMachine({ headers, raw, hostname }: FastifyRequest): boolean {
  if (forwarding.some((name) => headers[name] !== undefined)) return false;
  return isLoopbackHost(raw.socket.remoteAddress ?? '') && isLoopbackHost(hostname) && isOfOwnOrigin(headers);
}
