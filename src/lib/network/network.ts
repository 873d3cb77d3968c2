import type { Dispatcher } from 'undici';
import type { Clock } from '../clock.ts';
import { Dispatcher as BareDispatcher } from '../undici.ts';
import { type ConnectorOptions, createConnector } from './connector.ts';
import { type NetworkDispatchOptions, PendingRequest } from './exchange.ts';
import { OriginPool, type OriginPoolOptions } from './origin-pool.ts';
import { noProxies, ProxyRules, type ProxySettings } from './proxy-rules.ts';

/** A lost HTTP/2 session costs no more turns than this. */
const maxStreams = 10;
const connectTimeoutMs = 10_000;
/** Logins and refreshes have less time for the whole exchange. */
const singleConnectTimeoutMs = 3_000;

export interface NetworkOptions {
  readonly proxies: ProxySettings;
  readonly clock: Clock;
  readonly userAgent: string;
  /** Names of servers that may lead to the public internet only. */
  readonly publicHosts?: ReadonlySet<string>;
}

export type Network = ReturnType<typeof createNetwork>;

/**
 * For addresses that others name: to the public internet only, or to what the owner has allowed. Without a proxy, and with a new
 * connection for every request.
 */
export function createDirectDispatcher(
  clock: Clock,
  connectorOptions: ConnectorOptions,
): Dispatcher & { shut(error: Error): void } {
  const connector = createConnector(new ProxyRules(noProxies), connectorOptions);
  return new NetworkDispatcher({
    connector,
    clock,
    isKept: false,
    connectTimeoutMs: connectorOptions.timeoutMs,
  });
}

/** Carries all traffic to vendors, token hosts and webhooks. */
export function createNetwork({ proxies, clock, userAgent, publicHosts }: NetworkOptions) {
  const rules = new ProxyRules(proxies);
  const connector = createConnector(rules, { timeoutMs: connectTimeoutMs, userAgent, publicHosts });
  const dispatcher = new NetworkDispatcher({ connector, clock, isKept: true, connectTimeoutMs });
  const singleUse = new NetworkDispatcher({
    connector: createConnector(rules, { timeoutMs: singleConnectTimeoutMs, userAgent, publicHosts }),
    clock,
    isKept: false,
    connectTimeoutMs: singleConnectTimeoutMs,
  });
  return {
    /** Keeps connections and uses them again. */
    dispatcher: dispatcher as Dispatcher,
    /** A new connection for every request, which is sent at most once: if it breaks, only the answer is unknown. */
    singleUse: singleUse as Dispatcher,
    /** The HTTP version that an origin negotiates, and the proxy on the way to it. Rejects with UnsentError. */
    async probe(origin: URL) {
      const socket = await connector.open(origin);
      const alpn = 'alpnProtocol' in socket ? socket.alpnProtocol : undefined;
      socket.destroy();
      return { protocol: typeof alpn === 'string' ? alpn : 'http/1.1', proxy: rules.proxyFor(origin) };
    },
    /** Whether a proxy can be reached. Rejects with UnsentError. */
    probeProxy: connector.probeProxy,
    close(): void {
      const error = new Error('The program stops.');
      dispatcher.shut(error);
      singleUse.shut(error);
    },
  };
}

/**
 * An undici dispatcher over connections of either HTTP version, whichever an origin negotiates. Time limits of an
 * exchange are its caller's.
 */
class NetworkDispatcher extends BareDispatcher {
  readonly #options: Omit<OriginPoolOptions, 'origin' | 'maxStreams'>;
  readonly #pools = new Map<string, OriginPool>();
  #shutBy: Error | undefined;

  constructor(options: Omit<OriginPoolOptions, 'origin' | 'maxStreams'>) {
    super();
    this.#options = options;
  }

  override dispatch(options: NetworkDispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const request = new PendingRequest(options, handler, this.#options.clock.monotonic);
    this.#poolOf(String(options.origin)).take(request);
    return true;
  }

  shut(error: Error): void {
    this.#shutBy = error;
    for (const pool of this.#pools.values()) pool.destroy(error);
  }

  #poolOf(address: string): OriginPool {
    const known = this.#pools.get(address);
    if (known) return known;
    const origin = new URL(address);
    const here = this.#pools.get(origin.origin);
    if (here) return here;
    // What is not kept is not used again, and those who name the addresses may name a new one each time.
    const onEmpty = () => this.#pools.delete(origin.origin);
    const options = { ...this.#options, origin, maxStreams };
    const pool = new OriginPool(this.#options.isKept ? options : { ...options, onEmpty });
    this.#pools.set(origin.origin, pool);
    if (this.#shutBy) pool.destroy(this.#shutBy);
    return pool;
  }
}
