import ipaddr from 'ipaddr.js';
import { isLoopbackHost } from '../addresses/loopback.ts';

/** A proxy and the setting that named it. */
export interface NamedProxy {
  /** `http:` or `https:`, perhaps with a user name and a password. */
  readonly url: string;
  /** Such as HTTPS_PROXY. */
  readonly setting: string;
}

export interface ProxySettings {
  /** For targets that are plain http. */
  readonly http: NamedProxy | undefined;
  /** For targets that are https. */
  readonly https: NamedProxy | undefined;
  /** Targets that are reached directly: hosts, domains, addresses, CIDR blocks, each with an optional port, or `*`. */
  readonly noProxy: readonly string[];
}

export const noProxies: ProxySettings = { http: undefined, https: undefined, noProxy: [] };

interface Exception {
  readonly port: string | undefined;
  matches(host: string): boolean;
}

/** Which proxy leads to which target, as curl and Go understand the environment variables. */
export class ProxyRules {
  readonly settings: ProxySettings;
  readonly #exceptions: readonly Exception[];

  constructor(settings: ProxySettings) {
    this.settings = settings;
    this.#exceptions = settings.noProxy.flatMap((entry) => exceptionFrom(entry) ?? []);
  }

  /** Undefined: directly. This machine is never reached through a proxy. */
  proxyFor(target: URL): NamedProxy | undefined {
    const proxy = target.protocol === 'https:' ? this.settings.https : this.settings.http;
    if (proxy === undefined) return undefined;
    const host = bareHost(target.hostname);
    if (isLoopbackHost(host) || host.endsWith('.localhost')) return undefined;
    const port = target.port || (target.protocol === 'https:' ? '443' : '80');
    const isException = this.#exceptions.some(
      (exception) => (exception.port ?? port) === port && exception.matches(host),
    );
    return isException ? undefined : proxy;
  }
}

/** A proxy's URL without its credentials. */
export function shownProxy({ url }: NamedProxy): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}

/** The value of Proxy-Authorization; undefined where the URL holds no credentials. */
export function proxyAuthorization(proxy: URL): string | undefined {
  if (proxy.username === '' && proxy.password === '') return undefined;
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return `Basic ${Buffer.from(credentials).toString('base64')}`;
}

function exceptionFrom(given: string): Exception | undefined {
  // Some people write the address of the host.
  const entry = given.replace(/^[a-z]+:\/\/([^/]*).*$/i, '$1');
  if (entry === '*') return { port: undefined, matches: () => true };
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(entry) ?? [];
  // More than one colon without brackets: an IPv6 address or block, which has no port.
  const name = (bracketed ?? plain ?? entry).toLowerCase().replace(/\.$/, '');
  if (name === '') return undefined;
  if (ipaddr.isValidCIDR(name)) {
    const [network, bits] = ipaddr.parseCIDR(name);
    return { port, matches: (host) => isInBlock(host, network, bits) };
  }
  if (ipaddr.isValid(name)) {
    const address = ipaddr.process(name).toString();
    return { port, matches: (host) => ipaddr.isValid(host) && ipaddr.process(host).toString() === address };
  }
  const domain = name.replace(/^\*?\./, '');
  if (domain.includes('*')) {
    const parts = domain.split('*').map(RegExp.escape);
    const pattern = new RegExp(`^${parts.join('.*')}$`);
    return { port, matches: (host) => pattern.test(host) };
  }
  return { port, matches: (host) => host === domain || host.endsWith(`.${domain}`) };
}

function isInBlock(host: string, network: ipaddr.IPv4 | ipaddr.IPv6, bits: number): boolean {
  if (!ipaddr.isValid(host)) return false;
  const address = ipaddr.process(host);
  return address.kind() === network.kind() && address.match(network, bits);
}

function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
}
