import { z } from 'zod';
import { ownValue } from '../../lib/parse-json.ts';
import {
  atMeantAddress,
  configuredServer,
  defineProvider,
  defineType,
  type ProviderContext,
  serverFields,
} from '../definition.ts';
import { anyServer, openaiProtocols, type Vendor, vendors } from './vendors.ts';

/**
 * A server of the configuration file. With the name of a preset it is that vendor at another address, such as a proxy of the owner's.
 */
export const openaiCompatible = defineType({
  type: 'openai_compatible',
  answersTurns: true,
  schema: atMeantAddress(
    z.strictObject({
      type: z.literal('openai_compatible'),
      ...serverFields,
      protocols: z
        .array(z.enum(openaiProtocols))
        .min(1)
        .refine((given) => new Set(given).size === given.length, 'must name each protocol once')
        .optional(),
    }),
  ),
  read: (given, { name, fault }) => {
    const preset = ownValue(vendors, name);
    const baseUrl = given.base_url ?? preset?.baseUrl;
    if (baseUrl === undefined) fault('base_url', 'is missing');
    // A server that takes a vendor's place may well speak less than the vendor does.
    const spoken = given.base_url === undefined ? preset?.protocols : undefined;
    const protocols = given.protocols ?? spoken ?? ['chat' as const];
    return { type: given.type, baseUrl, mayBePrivate: given.private_network, protocols };
  },
  server: ({ baseUrl, mayBePrivate }) => configuredServer(baseUrl, mayBePrivate),
  load: (name, { baseUrl = '', protocols }, context) =>
    load(name, baseUrl, { ...(ownValue(vendors, name) ?? anyServer), protocols }, context),
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
