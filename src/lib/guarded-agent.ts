import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { Agent, buildConnector } from 'undici';

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

/** What IANA has given out as IPv6 global unicast. Whatever maps, embeds or translates IPv4 elsewhere lies outside of it. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');
/** Protocol assignments: Teredo, benchmarking, ORCHID, anycast of relays; none of them is a web server. */
const protocolAssignments = ipaddr.IPv6.parseCIDR('2001::/23');

/** True for an IP address in standard notation that anybody on the internet could reach; all special ranges are not. */
export function isPublicAddress(address: string): boolean {
  // A zone belongs to an address that means something on one link only.
  if (isIP(address) === 0 || address.includes('%')) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast') return false;
  if (parsed instanceof ipaddr.IPv4) return true;
  return parsed.match(globalUnicast) && !parsed.match(protocolAssignments) && !isIsatap(parsed);
}

/** An interface identifier by which a tunnel takes the packet to the IPv4 address in its last bits. */
function isIsatap({ parts }: ipaddr.IPv6): boolean {
  return parts[5] === 0x5efe && ((parts[4] ?? 0) & ~0x0200) === 0;
}

/**
 * Connections to the public internet only. A name is looked up once, all its addresses are looked at, and the connection
 * goes to one of these: a name cannot show one address to the guard and lead to another. No connection is used twice.
 */
export function createGuardedAgent(connectTimeoutMs: number, lookup: LookupAll = systemLookup): Agent {
  const connect = buildConnector({
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
  });
  return new Agent({
    pipelining: 0,
    connect(options, callback) {
      // An address in the URL itself is never looked up.
      if (isPublicHost(options.hostname)) connect(options, callback);
      else callback(new PrivateAddressError(), null);
    },
  });
}

/** False for a host, as a URL spells it, that is an address and no public one. A name is judged when it is looked up. */
function isPublicHost(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '');
  return isIP(bare) === 0 || isPublicAddress(bare);
}
