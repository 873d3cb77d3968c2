import { z } from 'zod';
import { isPublicHost, isServerHost } from '../../lib/addresses/ip-addresses.ts';
import { isLoopbackHost } from '../../lib/addresses/loopback.ts';
import { ownValue } from '../../lib/own-value.ts';
import { httpUrl } from '../../lib/setting.ts';
import { defineProvider, defineType, type ProviderContext } from '../definition.ts';
import { anyServer, type Vendor, vendors } from './vendors.ts';

/**
 * A server of the configuration file. With the name of a preset it is that vendor at another address, such as a proxy of the owner's.
 * This machine may be named; another private network only where the entry says that it is meant.
 */
export const openaiCompatible = defineType({
  type: 'openai_compatible',
  answersTurns: true,
  schema: z
    .strictObject({
      type: z.literal('openai_compatible'),
      base_url: httpUrl.optional(),
      private_network: z.boolean().default(false),
    })
    .refine(({ base_url: url }) => url === undefined || isServerHost(new URL(url).hostname), {
      message: "must be a server, and not a cloud's metadata or a link-local or unspecified address",
      path: ['base_url'],
      abort: true,
    })
    .refine(
      ({ base_url: url, private_network: isMeant }) => url === undefined || isMeant || isPublicUrl(url),
      {
        message:
          'must be https at a public address, or on this machine; for a server in a network of yours add private_network: true',
        path: ['base_url'],
      },
    ),
  read: (given, { name, fault }) => {
    const baseUrl = given.base_url ?? ownValue(vendors, name)?.baseUrl;
    if (baseUrl === undefined) fault('base_url', 'is missing');
    return { type: given.type, baseUrl };
  },
  server: ({ baseUrl }) => (baseUrl === undefined ? undefined : { url: new URL(baseUrl).origin }),
  load: (name, { baseUrl = '' }, context) =>
    load(name, baseUrl, ownValue(vendors, name) ?? anyServer, context),
});

export const openaiVendors = Object.entries(vendors).flatMap(([name, vendor]) => {
  const { baseUrl } = vendor;
  if (baseUrl === undefined) return [];
  return [
    defineProvider({
      name,
      answersTurns: true,
      isReplaceable: true,
      load: (context) => load(name, baseUrl, vendor, context),
    }),
  ];
});

async function load(name: string, baseUrl: string, vendor: Vendor, context: ProviderContext) {
  const { createOpenaiCompatibleProvider } = await import('./provider.ts');
  return createOpenaiCompatibleProvider(name, baseUrl, vendor, context);
}

function isPublicUrl(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return isLoopbackHost(hostname) || (protocol === 'https:' && isPublicHost(hostname));
}
