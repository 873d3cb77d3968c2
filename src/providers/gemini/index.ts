import { z } from 'zod';
import {
  atMeantAddress,
  configuredServer,
  defineProvider,
  defineType,
  type ProviderContext,
  serverFields,
} from '../definition.ts';

const google = 'https://generativelanguage.googleapis.com';

/** Google's own API, or with a base URL another server that speaks it. */
export const geminiServer = defineType({
  type: 'gemini',
  answersTurns: true,
  schema: atMeantAddress(z.strictObject({ type: z.literal('gemini'), ...serverFields })),
  read: ({ type, base_url: given = google, private_network: mayBePrivate }) => ({
    type,
    // Calls name the version themselves.
    baseUrl: given.replace(/\/v1beta$/, ''),
    mayBePrivate,
  }),
  server: ({ baseUrl, mayBePrivate }) => configuredServer(baseUrl, mayBePrivate),
  load: (name, { baseUrl }, context) => load(name, baseUrl, context),
});

export const gemini = defineProvider({
  name: 'gemini',
  answersTurns: true,
  isReplaceable: true,
  load: (context) => load('gemini', google, context),
});

async function load(name: string, baseUrl: string, context: ProviderContext) {
  const { createGeminiProvider } = await import('./provider.ts');
  return createGeminiProvider(name, baseUrl, { takesNoKey: baseUrl !== google }, context);
}
