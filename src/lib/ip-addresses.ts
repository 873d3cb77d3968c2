import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

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

/** Where clouds tell a machine who it is, and give it keys, beside the link-local addresses. */
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
  { block: ipaddr.IPv6.parseCIDR('2002::/16'), before: 16 },
];

/**
 * False for an address that no name of a server on the internet or in a local network leads to, unless somebody means harm:
 * link-local ones, a cloud's metadata, all networks and many machines at a time.
 */
export function isServerAddress(address: string): boolean {
  if (isIP(address) === 0 || address.includes('%')) return false;
  const parsed = ipaddr.parse(address);
  if (metadataAddresses.has(parsed.toNormalizedString()) || noServers.includes(parsed.range())) return false;
  if (parsed instanceof ipaddr.IPv4 || parsed.range() === 'loopback') return true;
  const carrier = carriers.find(({ block }) => parsed.match(block));
  if (carrier === undefined) return true;
  const inner = parsed.toByteArray().slice(carrier.before / 8, carrier.before / 8 + 4);
  return isServerAddress(inner.join('.'));
}
