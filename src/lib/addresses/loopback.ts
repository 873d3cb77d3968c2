import { BlockList, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');

/** Whether a host name or an IP address, in brackets or not, is this machine itself. */
export function isLoopbackHost(name: string): boolean {
  const host = name.toLowerCase().replace(/^\[(.*)\]$/, '$1');
  return host === 'localhost' || loopback.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
}

/** Whether a URL names this machine. */
export function isLoopbackUrl(address: string): boolean {
  return isLoopbackHost(new URL(address).hostname);
}

/** Whether a URL names this machine, by a loopback name or by one of the addresses that it has now. */
export function isOnThisMachine(url: string): boolean {
  const { hostname } = new URL(url);
  if (isLoopbackHost(hostname)) return true;
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return own.some(({ address }) => hostname === address || hostname === `[${address}]`);
}

interface Place {
  /** As a service is bound to it. */
  readonly host: string;
  readonly port: number;
}

/** All addresses of this machine, and how it reaches itself then. */
const wildcards: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '[::1]' };

/** Where a service is reached from this machine, whatever it is bound to. */
export function localUrl({ host, port }: Place): string {
  const name = wildcards[host] ?? (host.includes(':') ? `[${host}]` : host);
  return `http://${name}:${port}`;
}

/**
 * Where the `other` service answers a client that has found this one at `seen`: on the same host, unless it is bound to
 * another one. `url` is where it listens in this process. Undefined where that is not known.
 */
export function addressBeside(
  seen: string,
  own: Pick<Place, 'host'>,
  other: Place,
  url: string | undefined,
): string | undefined {
  const port = url === undefined ? other.port : Number(new URL(url).port);
  if (port === 0) return undefined;
  const isElsewhere = other.host !== own.host && !Object.hasOwn(wildcards, other.host);
  const address = new URL(isElsewhere ? localUrl({ host: other.host, port }) : seen);
  address.port = String(port);
  return address.origin;
}
