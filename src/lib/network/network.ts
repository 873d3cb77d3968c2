import type { Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import type { Clock } from '../clock.ts';
import { Dispatcher as BareDispatcher } from '../undici.ts';
import { type Connector, type ConnectorOptions, createConnector } from './connector.ts';
import {
  type Connection,
  maxStreams,
  type NetworkDispatchOptions,
  type OriginOptions,
  PendingRequest,
} from './exchange.ts';
import { Http1Connection } from './http1-connection.ts';
import { openHttp2 } from './http2-connection.ts';
import { noProxies, ProxyRules, type ProxySettings } from './proxy-rules.ts';
import { UnsentError } from './transport-errors.ts';

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
  readonly #options: Omit<OriginPoolOptions, 'origin'>;
  readonly #pools = new Map<string, OriginPool>();
  #shutBy: Error | undefined;

  constructor(options: Omit<OriginPoolOptions, 'origin'>) {
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
    const options = { ...this.#options, origin };
    const pool = new OriginPool(this.#options.isKept ? options : { ...options, onEmpty });
    this.#pools.set(origin.origin, pool);
    if (this.#shutBy) pool.destroy(this.#shutBy);
    return pool;
  }
}

export interface OriginPoolOptions extends OriginOptions {
  readonly connector: Connector;
  /** Neither a connection nor a request is left. */
  readonly onEmpty?: () => void;
}

/** The connections to one origin, and the requests that wait for one. */
export class OriginPool {
  readonly #options: OriginPoolOptions;
  readonly #connections = new Set<Connection>();
  /** Those with room, the last used at the end, so that the others become idle and close. */
  #free: Connection[] = [];
  #waiting: PendingRequest[] = [];
  #connecting = 0;
  #serial = 0;
  /** Requests that one connection is expected to carry. */
  #expectedRoom: number;
  #closedBy: Error | undefined;

  constructor(options: OriginPoolOptions) {
    this.#options = options;
    this.#expectedRoom = options.isKept && options.origin.protocol === 'https:' ? maxStreams : 1;
  }

  take(request: PendingRequest): void {
    if (this.#closedBy) {
      const error = this.#closedBy;
      process.nextTick(() => request.fail(error));
      return;
    }
    const connection = this.#freeFor(request);
    if (connection) this.#send(request, connection);
    else this.#wait(request);
  }

  destroy(error: Error): void {
    this.#closedBy = error;
    for (const request of this.#waiting.splice(0)) request.fail(error);
    for (const connection of [...this.#connections]) connection.destroy(error);
  }

  #freeFor(request: PendingRequest): Connection | undefined {
    for (let index = this.#free.length - 1; index >= 0; index -= 1) {
      const connection = this.#free[index];
      // One that is closing stays in the list until it has closed.
      if (connection && connection.room > 0 && request.suits(connection)) return connection;
    }
    return undefined;
  }

  #send(request: PendingRequest, connection: Connection): void {
    request.sendOn(connection, this.#options.isKept ? this.#resend : undefined);
    this.#sort(connection);
  }

  /** On a new connection: the other kept ones may have closed together with this one. */
  readonly #resend = (request: PendingRequest): void => {
    request.afterSerial = this.#serial;
    this.take(request);
  };

  #wait(request: PendingRequest): void {
    this.#waiting.push(request);
    const { signal } = request.options;
    if (signal) {
      const leave = (): void => {
        this.#waiting = this.#waiting.filter((one) => one !== request);
        const { host } = this.#options.origin;
        const message = `${host} could not be connected to in time: check the network, a firewall, or whether a proxy is needed.`;
        request.fail(new UnsentError('connect', message, signal.reason));
      };
      request.stopWaiting = () => signal.removeEventListener('abort', leave);
      if (signal.aborted) {
        process.nextTick(leave);
        return;
      }
      signal.addEventListener('abort', leave, { once: true });
    }
    this.#connectAsNeeded();
  }

  #connectAsNeeded(): void {
    while (this.#connecting < Math.ceil(this.#waiting.length / this.#expectedRoom)) {
      this.#connecting += 1;
      void this.#connect();
    }
  }

  async #connect(): Promise<void> {
    const { connector, origin, isKept } = this.#options;
    let connection: Connection;
    try {
      const socket = await connector.open(origin);
      this.#serial += 1;
      const pooled = { ...this.#options, serial: this.#serial, pool: this };
      connection = isHttp2(socket)
        ? await openHttp2(socket, pooled)
        : new Http1Connection(socket, { ...pooled, forwardProxy: connector.forwardProxy(origin) });
    } catch (error) {
      // Fails the requests that this connection was to carry; the others wait for the other connections.
      const share = Math.ceil(this.#waiting.length / this.#connecting);
      this.#connecting -= 1;
      for (const request of this.#waiting.splice(0, share)) request.fail(error as Error);
      this.#connectAsNeeded();
      this.#tellIfEmpty();
      return;
    }
    this.#connecting -= 1;
    this.#connections.add(connection);
    if (this.#closedBy) {
      connection.destroy(this.#closedBy);
      return;
    }
    if (isKept) this.#expectedRoom = connection.room;
    if (!connection.isHttp2) this.#failThoseThatNeedHttp2();
    this.#sort(connection);
    this.#serve();
    if (connection.used === 0 && !(connection.isHttp2 && isKept))
      connection.destroy(new Error('no request waits for it'));
    this.#connectAsNeeded();
  }

  changed(connection: Connection): void {
    this.#sort(connection);
    this.#serve();
  }

  closed(connection: Connection): void {
    this.#connections.delete(connection);
    this.#sort(connection);
    this.#tellIfEmpty();
  }

  #tellIfEmpty(): void {
    if (this.#connections.size + this.#connecting + this.#waiting.length === 0) this.#options.onEmpty?.();
  }

  /** Puts a connection among those with room, or takes it out. */
  #sort(connection: Connection): void {
    const hasRoom = connection.room > 0 && this.#connections.has(connection);
    const index = this.#free.lastIndexOf(connection);
    if (hasRoom === index >= 0) return;
    if (hasRoom) this.#free.push(connection);
    else this.#free.splice(index, 1);
  }

  #serve(): void {
    while (this.#waiting.length > 0 && this.#free.length > 0) {
      const index = this.#waiting.findIndex((request) => this.#freeFor(request) !== undefined);
      const [request] = index < 0 ? [] : this.#waiting.splice(index, 1);
      if (!request) return;
      request.stopWaiting?.();
      this.take(request);
    }
  }

  #failThoseThatNeedHttp2(): void {
    const { host } = this.#options.origin;
    const message = `${host} negotiated http/1.1, and turns need HTTP/2 (h2): look for a proxy or firewall that inspects TLS on the way, and let it pass ${host} untouched or speak HTTP/2.`;
    const failed = this.#waiting.filter(({ options }) => options.needsHttp2);
    this.#waiting = this.#waiting.filter((request) => !failed.includes(request));
    for (const request of failed) request.fail(new UnsentError('protocol', message));
  }
}

function isHttp2(socket: Socket): boolean {
  return 'alpnProtocol' in socket && socket.alpnProtocol === 'h2';
}
