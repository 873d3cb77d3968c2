import { type LookupAddress, type LookupAllOptions, lookup as systemLookup } from 'node:dns';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { LookupFunction, Socket } from 'node:net';
import { isPublicAddress, isPublicHost, isServerAddress } from '../addresses/ip-addresses.ts';
import { errorCode } from '../errors.ts';
import { httpRequest } from '../node-http.ts';
import { buildConnector } from '../undici.ts';
import { type NamedProxy, type ProxyRules, proxyAuthorization, shownProxy } from './proxy-rules.ts';
import { UnsentError, type UnsentPhase } from './transport-errors.ts';

export type Connector = ReturnType<typeof createConnector>;

const certificateCodes = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY|DECRYPT|DECODE)|ALTNAME|HOSTNAME_MISMATCH/;

/** The shape of `dns.lookup` when all addresses are asked for. */
export type LookupAll = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export interface ConnectorOptions {
  readonly timeoutMs: number;
  readonly userAgent: string;
  readonly lookup?: LookupAll;
  /** Names that may lead to the public internet only; `all`: no other connection is made, to an address neither. */
  readonly publicHosts?: ReadonlySet<string> | 'all' | undefined;
}

/**
 * Opens connections to origins, directly or through a proxy. `timeoutMs` is for each step of the way: the connection to a proxy, its
 * tunnel, the handshake.
 */
export function createConnector(
  rules: ProxyRules,
  { timeoutMs, userAgent, lookup = systemLookup, publicHosts = new Set() }: ConnectorOptions,
) {
  const isPublic = (hostname: string) => publicHosts === 'all' || publicHosts.has(hostname);
  const options = { timeout: timeoutMs, lookup: judgedLookup(lookup, isPublic) };
  // HTTP/2 comes first in the offer; undici's default offer begins with http/1.1.
  const connect = buildConnector({ allowH2: true, preferH2: true, ...options });
  const connectPlain = buildConnector({ allowH2: false, ...options });

  async function open(to: URL, opener: typeof connect, tunnel?: Socket): Promise<Socket> {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const hostname = to.hostname.replace(/^\[|\]$/g, '');
    // An address is never looked up.
    if (publicHosts === 'all' && !isPublicHost(hostname)) throw new AddressError('PRIVATE_ADDRESS', hostname);
    opener(
      {
        hostname,
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
      throw new UnsentError('proxy', sentence(`The ${named(proxy)} ${failureOf(cause).what}`), cause);
    }
  }

  /** Asks a proxy for a way to `target`. The connection is then the way. */
  async function openTunnel(proxy: NamedProxy, target: string): Promise<Socket> {
    const socket = await openProxy(proxy);
    const authorization = proxyAuthorization(new URL(proxy.url));
    const request = httpRequest({
      method: 'CONNECT',
      path: target,
      headers: {
        host: target,
        'user-agent': userAgent,
        ...(authorization !== undefined && { 'proxy-authorization': authorization }),
      },
      createConnection: () => socket,
    });
    request.end();
    const timer = setTimeout(() => request.destroy(new Error('no answer in time')), timeoutMs);
    const fail = (what: string, cause?: unknown): UnsentError => {
      socket.destroy();
      return new UnsentError('proxy', `The ${named(proxy)} ${what}`, cause);
    };
    try {
      const [{ statusCode = 0 }, , head] = (await once(request, 'connect')) as [
        IncomingMessage,
        Socket,
        Buffer,
      ];
      if (head.length > 0) socket.unshift(head);
      if (statusCode >= 200 && statusCode <= 299) return socket;
      const advice =
        statusCode === 407
          ? 'give its user name and password in the URL, or mend them'
          : 'ask its operator, or except the host with NO_PROXY';
      throw fail(`refused to connect to ${target} (${statusCode}): ${advice}.`);
    } catch (cause) {
      if (cause instanceof UnsentError) throw cause;
      throw fail(
        `did not answer the request for a tunnel (${errorCode(cause) ?? 'no answer'}): is it an HTTP proxy?`,
        cause,
      );
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    /** A connection to the origin, ready to be written to; for https the handshake is done. Rejects with UnsentError. */
    async open(origin: URL): Promise<Socket> {
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
    /** The proxy that plain http requests are sent to instead of the origin; undefined: none. */
    forwardProxy(origin: URL): URL | undefined {
      const proxy = origin.protocol === 'http:' ? rules.proxyFor(origin) : undefined;
      return proxy && new URL(proxy.url);
    },
    /** Whether the proxy itself can be reached. Rejects with UnsentError. */
    async probeProxy(proxy: NamedProxy): Promise<void> {
      (await openProxy(proxy)).destroy();
    },
  };
}

/** The name of a server leads where no server is (`ODD_ADDRESS`), or one that is to be on the internet elsewhere. */
class AddressError extends Error {
  readonly code: 'ODD_ADDRESS' | 'PRIVATE_ADDRESS';

  constructor(code: AddressError['code'], hostname: string, address = 'no public address') {
    super(`${hostname} leads to ${address}.`);
    this.name = 'AddressError';
    this.code = code;
  }
}

/**
 * Looks a name up once, judges all its addresses and returns the same ones, so that a name cannot show one address to the judge
 * and lead to another. An address in the configuration is the owner's choice; what a name resolves to is chosen by those who run
 * its DNS.
 */
function judgedLookup(lookup: LookupAll, isPublic: (hostname: string) => boolean): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      const addresses = found ?? [];
      const odd = addresses.find(({ address }) => !isServerAddress(address));
      const isElsewhere =
        isPublic(hostname) &&
        !(addresses.length > 0 && addresses.every(({ address }) => isPublicAddress(address)));
      const fault =
        error ??
        (odd && new AddressError('ODD_ADDRESS', hostname, odd.address)) ??
        (isElsewhere ? new AddressError('PRIVATE_ADDRESS', hostname) : undefined);
      const [first] = addresses;
      if (fault) callback(fault, '', 4);
      else if (options.all) callback(null, addresses);
      else callback(null, first?.address ?? '', first?.family);
    });
  };
}

/** Behind a proxy that has opened the way, what breaks the way may be the proxy itself. */
function unreachable(origin: URL, cause: unknown, proxy: NamedProxy | undefined): UnsentError {
  const { phase, what } = failureOf(cause);
  if (proxy === undefined) return new UnsentError(phase, sentence(`${origin.host} ${what}`), cause);
  const code = errorCode(cause) ?? 'no connection';
  const how = certificateCodes.test(code)
    ? what
    : `did not complete the TLS handshake (${code}): ask the proxy's operator whether it lets ${origin.host} pass, or except the host with NO_PROXY`;
  return new UnsentError(
    phase,
    sentence(`${origin.host}, reached through the ${named(proxy)}, ${how}`),
    cause,
  );
}

function named(proxy: NamedProxy): string {
  return `proxy of ${proxy.setting} (${shownProxy(proxy)})`;
}

function sentence(text: string): string {
  return text.endsWith('?') ? text : `${text}.`;
}

/** By the code of what went wrong: where, what it is and what to do, to follow the name of the host. */
const failures: readonly (readonly [code: RegExp, phase: UnsentPhase, what: (code: string) => string])[] = [
  [
    /^ODD_ADDRESS$/,
    'name',
    () =>
      'is resolved to an address of a cloud’s metadata or of one link only, and nothing was sent: check the name and the DNS',
  ],
  [
    /^PRIVATE_ADDRESS$/,
    'name',
    () =>
      'is resolved to an address of a private network, and nothing was sent: check the name and the DNS, or say private_network: true where the server is meant to be there',
  ],
  [
    /^(ENOTFOUND|EAI_AGAIN)$/,
    'name',
    (code) => `cannot be resolved (${code}): check the name, the network and its DNS`,
  ],
  [
    certificateCodes,
    'tls',
    (code) =>
      `shows a certificate that is not trusted (${code}): check the clock, and name the certificate of a proxy that inspects TLS in NODE_EXTRA_CA_CERTS`,
  ],
  [
    /^(ERR_SSL|ERR_TLS|EPROTO)/,
    'tls',
    (code) => `does not complete the TLS handshake (${code}): does it speak TLS at this port?`,
  ],
  [
    /^ECONNREFUSED$/,
    'connect',
    (code) => `cannot be reached (${code}): no server listens there; check the address and the port`,
  ],
  [
    /^(UND_ERR_CONNECT_TIMEOUT|ETIMEDOUT)$/,
    'connect',
    (code) => `did not answer in time (${code}): check the network, a firewall, or whether a proxy is needed`,
  ],
  [/^/, 'connect', (code) => `cannot be reached (${code}): check the network`],
];

function failureOf(cause: unknown): { readonly phase: UnsentPhase; readonly what: string } {
  const code = errorCode(cause) ?? '';
  const [, phase, what] = failures.find(([pattern]) => pattern.test(code)) as (typeof failures)[number];
  return { phase, what: what(code || 'no connection') };
}
