import { z } from 'zod';
import { ownValue } from '../../lib/own-value.ts';
import { defineProvider, defineType, type ProviderContext } from '../definition.ts';
import { atMeantAddress, configuredServer, serverFields } from '../server-address.ts';
import { anyServer, type Vendor, vendors } from './vendors.ts';

/**
 * A server of the configuration file. With the name of a preset it is that vendor at another address, such as a proxy of the owner's.
 */
export const openaiCompatible = defineType({
  type: 'openai_compatible',
  answersTurns: true,
  schema: atMeantAddress(z.strictObject({ type: z.literal('openai_compatible'), ...serverFields })),
  read: (given, { name, fault }) => {
    const baseUrl = given.base_url ?? ownValue(vendors, name)?.baseUrl;
    if (baseUrl === undefined) fault('base_url', 'is missing');
    return { type: given.type, baseUrl, mayBePrivate: given.private_network };
  },
  server: ({ baseUrl, mayBePrivate }) => configuredServer(baseUrl, mayBePrivate),
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
