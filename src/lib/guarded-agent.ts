import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import ipaddr from 'ipaddr.js';
import { Agent } from 'undici';

/** The shape of `dns.lookup` when all addresses are asked for. */
export type LookupAll = (
  hostname: string,
  options: { readonly all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** The host leads into this machine, its network, or nowhere on the public internet. */
export class PrivateAddressError extends Error {
  constructor() {
    super('The address is not on the public internet.');
    this.name = 'PrivateAddressError';
  }
}

/** True for an IP address that anybody on the internet could reach; all special ranges are not. */
export function isPublicAddress(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.parse(address).range() === 'unicast';
}

/**
 * Connections to the public internet only. A name is looked up once, all its addresses are looked at, and the connection
 * goes to one of these: a name cannot show one address to the guard and lead to another. An address in the URL itself is
 * never looked up, so whoever uses the agent has to ask `isPublicHost` first. No connection is used twice.
 */
export function createGuardedAgent(connectTimeoutMs: number, lookup: LookupAll = systemLookup): Agent {
  return new Agent({
    pipelining: 0,
    connect: {
      timeout: connectTimeoutMs,
      lookup(hostname, options, callback) {
        lookup(hostname, { all: true }, (error, addresses) => {
          const fault =
            error ??
            (addresses.every(({ address }) => isPublicAddress(address)) ? null : new PrivateAddressError());
          const [first] = addresses ?? [];
          if (fault || first === undefined) callback(fault ?? new PrivateAddressError(), '', 4);
          else if (options.all) callback(null, addresses);
          else callback(null, first.address, first.family);
        });
      },
    },
  });
}

/** False for a host, as a URL spells it, that is an address and no public one. A name is judged when it is looked up. */
export function isPublicHost(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '');
  return !ipaddr.isValid(bare) || isPublicAddress(bare);
}
