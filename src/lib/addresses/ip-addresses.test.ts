import { expect, it } from 'vitest';
import { isPublicAddress, isServerAddress } from './ip-addresses.ts';

/**
 * The blocks of the IANA IPv4 and IPv6 Special-Purpose Address Registries, with the first and the last address of each, and
 * what the IPv4 and IPv6 address space registries hold beside them for multicast, for future use and as unassigned.
 */
const specialBlocks: readonly (readonly [block: string, first: string, last: string])[] = [
  ['0.0.0.0/8 this network', '0.0.0.0', '0.255.255.255'],
  ['10.0.0.0/8 private use', '10.0.0.0', '10.255.255.255'],
  ['100.64.0.0/10 shared address space', '100.64.0.0', '100.127.255.255'],
  ['127.0.0.0/8 loopback', '127.0.0.0', '127.255.255.255'],
  ['169.254.0.0/16 link local', '169.254.0.0', '169.254.255.255'],
  ['172.16.0.0/12 private use', '172.16.0.0', '172.31.255.255'],
  ['192.0.0.0/24 protocol assignments', '192.0.0.0', '192.0.0.255'],
  ['192.0.0.9/32 port control anycast', '192.0.0.9', '192.0.0.9'],
  ['192.0.0.170/32 NAT64 discovery', '192.0.0.170', '192.0.0.171'],
  ['192.0.2.0/24 documentation', '192.0.2.0', '192.0.2.255'],
  ['192.31.196.0/24 AS112', '192.31.196.0', '192.31.196.255'],
  ['192.52.193.0/24 AMT', '192.52.193.0', '192.52.193.255'],
  ['192.88.99.0/24 6to4 relay anycast', '192.88.99.0', '192.88.99.255'],
  ['192.168.0.0/16 private use', '192.168.0.0', '192.168.255.255'],
  ['192.175.48.0/24 direct delegation AS112', '192.175.48.0', '192.175.48.255'],
  ['198.18.0.0/15 benchmarking', '198.18.0.0', '198.19.255.255'],
  ['198.51.100.0/24 documentation', '198.51.100.0', '198.51.100.255'],
  ['203.0.113.0/24 documentation', '203.0.113.0', '203.0.113.255'],
  ['224.0.0.0/4 multicast', '224.0.0.0', '239.255.255.255'],
  ['240.0.0.0/4 reserved', '240.0.0.0', '255.255.255.254'],
  ['255.255.255.255/32 limited broadcast', '255.255.255.255', '255.255.255.255'],
  ['::1/128 loopback', '::1', '::1'],
  ['::/128 unspecified', '::', '::'],
  ['::/96 IPv4-compatible', '::127.0.0.1', '::7f00:1'],
  ['::/96 IPv4-compatible, public inside', '::8.8.8.8', '::808:808'],
  ['::ffff:0:0/96 IPv4-mapped', '::ffff:127.0.0.1', '::ffff:808:808'],
  ['::ffff:0:0:0/96 IPv4-translated', '::ffff:0:127.0.0.1', '::ffff:0:808:808'],
  ['64:ff9b::/96 NAT64', '64:ff9b::7f00:1', '64:ff9b::255.255.255.255'],
  ['64:ff9b:1::/48 NAT64 for local use', '64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff'],
  ['100::/64 discard only', '100::', '100::ffff:ffff:ffff:ffff'],
  ['100:0:0:1::/64 dummy prefix', '100:0:0:1::', '100:0:0:1:ffff:ffff:ffff:ffff'],
  ['2001::/23 protocol assignments', '2001::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2001::/32 Teredo', '2001:0:7f00:1::', '2001:0:4136:e378:8000:63bf:80ff:fffe'],
  ['2001:1::1/128 port control anycast', '2001:1::1', '2001:1::3'],
  ['2001:2::/48 benchmarking', '2001:2::', '2001:2:0:ffff:ffff:ffff:ffff:ffff'],
  ['2001:3::/32 AMT', '2001:3::', '2001:3:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2001:4:112::/48 AS112', '2001:4:112::', '2001:4:112:ffff:ffff:ffff:ffff:ffff'],
  ['2001:10::/28 ORCHID', '2001:10::', '2001:1f:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2001:20::/28 ORCHIDv2', '2001:20::', '2001:2f:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2001:30::/28 drone remote id', '2001:30::', '2001:3f:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2001:db8::/32 documentation', '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2002::/16 6to4', '2002:7f00:1::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2620:4f:8000::/48 direct delegation AS112', '2620:4f:8000::', '2620:4f:8000:ffff:ffff:ffff:ffff:ffff'],
  ['3fff::/20 documentation', '3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['5f00::/16 SRv6 SIDs', '5f00::', '5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['fc00::/7 unique local', 'fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['fd00:ec2::254 instance metadata', 'fd00:ec2::254', 'fd20:ce::254'],
  ['168.63.129.16 services of a cloud for its machines', '168.63.129.16', '168.63.129.16'],
  ['fe80::/10 link local', 'fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['fec0::/10 site local', 'fec0::', 'feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['ff00::/8 multicast', 'ff00::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['outside of 2000::/3', '1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '4000::'],
  ['unassigned', '8000::1', 'e000::1'],
  ['ISATAP', '2a00::5efe:7f00:1', '2a00::200:5efe:10.0.0.1'],
  ['a zone', 'fe80::1%eth0', '2606:4700::1111%1'],
  ['no standard notation', '127.1', '0177.0.0.1'],
  ['no standard notation', '8.8.8', '0x08080808'],
];

it.each(specialBlocks)('%s is not the public internet', (_block, first, last) => {
  expect(isPublicAddress(first)).toBe(false);
  expect(isPublicAddress(last)).toBe(false);
});

it.each([
  ...['1.0.0.0', '8.8.8.8', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255'],
  ...[
    '128.0.0.0',
    '169.253.255.255',
    '169.255.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.0.1.0',
    '192.0.3.0',
  ],
  ...['192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0', '203.0.112.255', '223.255.255.255'],
  ...['2001:200::', '2001:4860:4860::8888', '2003::1', '2606:4700:4700::1111', '2a00:1450:4001::200e'],
  ...['2c0f:fb50:4002::1', '2a00::5eff:0:1'],
])('%s is', (address) => {
  expect(isPublicAddress(address)).toBe(true);
});

it.each([
  ...[
    '169.254.169.254',
    '169.254.170.2',
    '100.100.100.200',
    '168.63.129.16',
    '0.0.0.0',
    '0.0.0.5',
    '224.0.0.1',
  ],
  ...['255.255.255.255', 'fd00:ec2::254', 'fd20:ce:0::254', 'fe80::1', 'fe80::1%eth0', '::', 'ff02::1'],
  ...[
    '::ffff:169.254.169.254',
    '::a9fe:a9fe',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b:1::a9fe:a9fe',
    '2002:a9fe:a9fe::1',
    '169.254.43518',
  ],
])('%s is no address that the name of a server leads to', (address) => {
  expect(isServerAddress(address)).toBe(false);
});

it.each([
  ...[
    '93.184.216.34',
    '2606:4700::1111',
    '10.0.0.1',
    '192.168.1.5',
    '172.16.0.9',
    '100.64.0.7',
    '127.0.0.1',
    '::1',
  ],
  // The answers of some proxies' DNS, a local network, and a network without IPv4.
  ...['198.18.0.5', 'fd12:3456::5', '::ffff:10.0.0.1', '64:ff9b::5db8:d822'],
])('%s may be', (address) => {
  expect(isServerAddress(address)).toBe(true);
});
