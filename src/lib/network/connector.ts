import { lookup as systemLookup } from 'node:dns';
import type { RequestOptions } from 'node:http';
import type { Socket } from 'node:net';
import { isPublicAddress, isServerAddress } from '../addresses/ip-addresses.ts';
import { judgedLookup, type LookupAll } from '../addresses/judged-lookup.ts';
import { errorCode } from '../errors.ts';
import { httpRequest } from '../node-http.ts';
import { buildConnector } from '../undici.ts';
import { type NamedProxy, type ProxyRules, proxyAuthorization, shownProxy } from './proxy-rules.ts';
import { UnsentError } from './transport-errors.ts';

/** Opens connections to origins, directly or through a proxy. */
export interface Connector {
  /** A connection to the origin, ready to be written to; for https the handshake is done. Rejects with UnsentError. */
  open(origin: URL): Promise<Socket>;
  /** The proxy that plain http requests are sent to instead of the origin; undefined: none. */
  forwardProxy(origin: URL): URL | undefined;
  /** Whether the proxy itself can be reached. Rejects with UnsentError. */
  probeProxy(proxy: NamedProxy): Promise<void>;
}

const certificateCodes = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY|DECRYPT|DECODE)|ALTNAME|HOSTNAME_MISMATCH/;

export interface ConnectorOptions {
  readonly timeoutMs: number;
  readonly userAgent: string;
  readonly lookup?: LookupAll;
  /** Names that may lead to the public internet only. */
  readonly publicHosts?: ReadonlySet<string> | undefined;
}

/** `timeoutMs` is for each step of the way: the connection to a proxy, its tunnel, the handshake. */
export function createConnector(
  rules: ProxyRules,
  { timeoutMs, userAgent, lookup = systemLookup, publicHosts = new Set() }: ConnectorOptions,
): Connector {
  const judge = (addresses: readonly string[], hostname: string) =>
    faultOfServer(addresses, hostname, publicHosts);
  const options = { timeout: timeoutMs, lookup: judgedLookup(lookup, judge) };
  // HTTP/2 comes first in the offer; undici's default offer begins with http/1.1.
  const connect = buildConnector({ allowH2: true, preferH2: true, ...options });
  const connectPlain = buildConnector({ allowH2: false, ...options });

  function open(to: URL, opener: typeof connect, tunnel?: Socket): Promise<Socket> {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    opener(
      {
        hostname: to.hostname.replace(/^\[|\]$/g, ''),
        host: to.host,
        protocol: to.protocol,
        port: to.port || (to.protocol === 'https:' ? '443' : '80'),
        ...(tunnel && { httpSocket: tunnel }),
      },
      (error, socket) => (socket ? resolve(socket) : reject(error)),
    );
    return promise;
  }

  async function openProxy(proxy: NamedProxy): Promise<Socket> {
    try {
      return await open(new URL(proxy.url), connectPlain);
    } catch (cause) {
      throw new UnsentError(
        'proxy',
        sentence(`The proxy of ${proxy.setting} (${shownProxy(proxy)}) ${whatOf(cause)}`),
        cause,
      );
    }
  }

  async function openTunnel(proxy: NamedProxy, target: string): Promise<Socket> {
    const socket = await openProxy(proxy);
    const answer = await askForTunnel(socket, proxy, target, { timeoutMs, userAgent }).catch(
      (cause: unknown) => {
        socket.destroy();
        const message = `The proxy of ${proxy.setting} (${shownProxy(proxy)}) did not answer the request for a tunnel (${errorCode(cause) ?? 'no answer'}): is it an HTTP proxy?`;
        throw new UnsentError('proxy', message, cause);
      },
    );
    if (answer.status >= 200 && answer.status <= 299) return socket;
    socket.destroy();
    const advice =
      answer.status === 407
        ? 'give its user name and password in the URL, or mend them'
        : 'ask its operator, or except the host with NO_PROXY';
    throw new UnsentError(
      'proxy',
      `The proxy of ${proxy.setting} (${shownProxy(proxy)}) refused to connect to ${target} (${answer.status}): ${advice}.`,
    );
  }

  return {
    async open(origin) {
      const proxy = rules.proxyFor(origin);
      if (proxy && origin.protocol === 'http:') return openProxy(proxy);
      const target = `${origin.hostname}:${origin.port || '443'}`;
      const tunnel = proxy && (await openTunnel(proxy, target));
      try {
        return await open(origin, connect, tunnel);
      } catch (cause) {
        tunnel?.destroy();
        throw unreachable(origin, cause, tunnel && proxy);
      }
    },
    forwardProxy(origin) {
      const proxy = origin.protocol === 'http:' ? rules.proxyFor(origin) : undefined;
      return proxy && new URL(proxy.url);
    },
    async probeProxy(proxy) {
      (await openProxy(proxy)).destroy();
    },
  };
}

/** An address in the configuration is the owner's choice; what a name resolves to is chosen by those who run its DNS. */
function faultOfServer(
  addresses: readonly string[],
  hostname: string,
  publicHosts: ReadonlySet<string>,
): Error | undefined {
  const odd = addresses.find((address) => !isServerAddress(address));
  if (odd !== undefined) return new OddAddressError(hostname, odd);
  if (!publicHosts.has(hostname)) return undefined;
  const inner = addresses.find((address) => !isPublicAddress(address));
  return inner === undefined ? undefined : new InnerAddressError(hostname, inner);
}

class OddAddressError extends Error {
  readonly code = 'ODD_ADDRESS';

  constructor(hostname: string, address: string) {
    super(`${hostname} leads to ${address}.`);
    this.name = 'OddAddressError';
  }
}

/** The name of a server that is to be on the internet leads into a private network or to this machine. */
class InnerAddressError extends Error {
  readonly code = 'PRIVATE_ADDRESS';

  constructor(hostname: string, address: string) {
    super(`${hostname} leads to ${address}.`);
    this.name = 'InnerAddressError';
  }
}

/** Behind a proxy that has opened the way, what breaks the way may be the proxy itself. */
function unreachable(origin: URL, cause: unknown, proxy: NamedProxy | undefined): UnsentError {
  const phase = phaseOf(cause);
  if (proxy === undefined) return new UnsentError(phase, sentence(`${origin.host} ${whatOf(cause)}`), cause);
  const way = `${origin.host}, reached through the proxy of ${proxy.setting} (${shownProxy(proxy)}),`;
  if (certificateCodes.test(errorCode(cause) ?? '')) {
    return new UnsentError(phase, sentence(`${way} ${whatOf(cause)}`), cause);
  }
  const message = `${way} did not complete the TLS handshake (${errorCode(cause) ?? 'no connection'}): ask the proxy's operator whether it lets ${origin.host} pass, or except the host with NO_PROXY.`;
  return new UnsentError(phase, message, cause);
}

function sentence(text: string): string {
  return text.endsWith('?') ? text : `${text}.`;
}

/** Asks a proxy, over a connection to it, for a way to `target`. The connection is then the way. */
function askForTunnel(
  socket: Socket,
  proxy: NamedProxy,
  target: string,
  { timeoutMs, userAgent }: { readonly timeoutMs: number; readonly userAgent: string },
): Promise<{ readonly status: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly status: number }>();
  const authorization = proxyAuthorization(new URL(proxy.url));
  const options: RequestOptions = {
    method: 'CONNECT',
    path: target,
    headers: {
      host: target,
      'user-agent': userAgent,
      ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }),
    },
    createConnection: () => socket,
  };
  const request = httpRequest(options);
  const timer = setTimeout(() => request.destroy(new Error('no answer in time')), timeoutMs);
  request.once('connect', ({ statusCode = 0 }, _socket, head) => {
    if (head.length > 0) socket.unshift(head);
    resolve({ status: statusCode });
  });
  request.on('error', reject);
  request.end();
  return promise.finally(() => clearTimeout(timer));
}

function phaseOf(cause: unknown): UnsentError['phase'] {
  const code = errorCode(cause) ?? '';
  const isOdd = cause instanceof OddAddressError || cause instanceof InnerAddressError;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN' || isOdd) return 'name';
  return certificateCodes.test(code) || /^(ERR_SSL|ERR_TLS|EPROTO)/.test(code) ? 'tls' : 'connect';
}

/** What went wrong and what to do, to follow the name of the host. */
function whatOf(cause: unknown): string {
  if (cause instanceof OddAddressError) {
    return 'is resolved to an address of a cloud’s metadata or of one link only, and nothing was sent: check the name and the DNS';
  }
  if (cause instanceof InnerAddressError) {
    return 'is resolved to an address of a private network, and nothing was sent: check the name and the DNS, or say private_network: true where the server is meant to be there';
  }
  const code = errorCode(cause) ?? 'no connection';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return `cannot be resolved (${code}): check the name, the network and its DNS`;
  }
  if (certificateCodes.test(code)) {
    return `shows a certificate that is not trusted (${code}): check the clock, and name the certificate of a proxy that inspects TLS in NODE_EXTRA_CA_CERTS`;
  }
  if (phaseOf(cause) === 'tls')
    return `does not complete the TLS handshake (${code}): does it speak TLS at this port?`;
  if (code === 'ECONNREFUSED')
    return `cannot be reached (${code}): no server listens there; check the address and the port`;
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT') {
    return `did not answer in time (${code}): check the network, a firewall, or whether a proxy is needed`;
  }
  return `cannot be reached (${code}): check the network`;
}
