import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** What IANA has assigned as IPv6 global unicast. Prefixes that map, embed or translate IPv4 lie outside of it, but for those checked below. */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3');
/** Protocol assignments: Teredo, benchmarking, ORCHID, anycast of relays; none of them is a web server. */
const protocolAssignments = ipaddr.IPv6.parseCIDR('2001::/23');

/** True for an IP address in standard notation that is reachable from the whole internet; false for all special ranges. */
export function isPublicAddress(address: string): boolean {
  // One cloud's services for its machines have an address out of the public space.
  if (!isServerAddress(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast') return false;
  if (parsed instanceof ipaddr.IPv4) return true;
  return parsed.match(globalUnicast) && !parsed.match(protocolAssignments) && !isIsatap(parsed);
}

/** An interface identifier by which a tunnel takes the packet to the IPv4 address in its last bits. */
function isIsatap({ parts }: ipaddr.IPv6): boolean {
  return parts[5] === 0x5efe && ((parts[4] ?? 0) & ~0x0200) === 0;
}

/** Where clouds serve a machine's metadata and keys, beside the link-local addresses. */
const metadataAddresses = new Set(
  ['100.100.100.200', '168.63.129.16', '192.0.0.192', 'fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254'].map(
    (address) => ipaddr.parse(address).toNormalizedString(),
  ),
);
const noServers = ['linkLocal', 'unspecified', 'multicast', 'broadcast'];
/** IPv6 addresses that lead to an IPv4 one, and how many of their bits lie before it. */
const carriers = [
  { block: ipaddr.IPv6.parseCIDR('::/96'), before: 96 },
  { block: ipaddr.IPv6.parseCIDR('::ffff:0:0/96'), before: 96 },
  { block: ipaddr.IPv6.parseCIDR('::ffff:0:0:0/96'), before: 96 },
  { block: ipaddr.IPv6.parseCIDR('64:ff9b::/96'), before: 96 },
  { block: ipaddr.IPv6.parseCIDR('64:ff9b:1::/48'), before: 96 },
  { block: ipaddr.IPv6.parseCIDR('2002::/16'), before: 16 },
];

/**
 * False for an address that no honest name of a server resolves to, on the internet or in a local network: link-local ones, a
 * cloud's metadata, unspecified, multicast and broadcast ones.
 */
export function isServerAddress(address: string): boolean {
  // Only addresses that are valid on a single link have a zone.
  if (isIP(address) === 0 || address.includes('%')) return false;
  const parsed = ipaddr.parse(address);
  if (metadataAddresses.has(parsed.toNormalizedString()) || noServers.includes(parsed.range())) return false;
  if (parsed instanceof ipaddr.IPv4 || parsed.range() === 'loopback') return true;
  const carrier = carriers.find(({ block }) => parsed.match(block));
  if (carrier === undefined) return true;
  const inner = parsed.toByteArray().slice(carrier.before / 8, carrier.before / 8 + 4);
  return isServerAddress(inner.join('.'));
}

const metadataNames = ['metadata.google.internal', 'metadata.goog'];

/** False for a host, as a URL spells it, that is no server: such an address, or the name of a cloud's metadata. */
export function isServerHost(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$|\.$/g, '');
  return isIP(bare) === 0 ? !metadataNames.includes(bare) : isServerAddress(bare);
}

/** False for a host, as a URL spells it, that is an address and no public one. A name is judged when it is looked up. */
export function isPublicHost(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '');
  return isIP(bare) === 0 || isPublicAddress(bare);
}
