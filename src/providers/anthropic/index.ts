import { z } from 'zod';
import {
  atMeantAddress,
  configuredServer,
  defineProvider,
  defineType,
  type ProviderContext,
  serverFields,
} from '../definition.ts';

const name = 'anthropic';
const baseUrl = 'https://api.anthropic.com';

export const anthropic = defineProvider({
  name,
  answersTurns: true,
  isReplaceable: true,
  load: (context) => load(name, baseUrl, false, context),
});

/** A server of the configuration file that speaks Anthropic Messages. With the name `anthropic` it is Anthropic at another address. */
export const anthropicCompatible = defineType({
  type: 'anthropic_compatible',
  answersTurns: true,
  schema: atMeantAddress(z.strictObject({ type: z.literal('anthropic_compatible'), ...serverFields })),
  read: (given, reader) => {
    const url = given.base_url ?? (reader.name === name ? baseUrl : undefined);
    if (url === undefined) reader.fault('base_url', 'is missing');
    // Both forms are in use: with the version that the paths begin with, and without.
    return { type: given.type, baseUrl: url?.replace(/\/v1$/, ''), mayBePrivate: given.private_network };
  },
  server: ({ baseUrl, mayBePrivate }) => configuredServer(baseUrl, mayBePrivate),
  load: (name, { baseUrl = '' }, context) => load(name, baseUrl, true, context),
});

async function load(name: string, baseUrl: string, takesNoKey: boolean, context: ProviderContext) {
  const { createAnthropicProvider } = await import('./provider.ts');
  return createAnthropicProvider({ name, baseUrl, takesNoKey }, context);
}
