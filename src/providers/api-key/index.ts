import { z } from 'zod';
import { ownValue } from '../../lib/own-value.ts';
import { safeAddress } from '../../lib/setting.ts';
import { defineType } from '../definition.ts';
import { createApiKeyProvider } from './provider.ts';
import { vendors } from './vendors.ts';

/** Plain keys, kept and lent for programs that speak to the vendor themselves. */
export const apiKey = defineType({
  type: 'api_key',
  schema: z.strictObject({ type: z.literal('api_key'), check_url: safeAddress.optional() }),
  read: (given) => ({ type: given.type, checkUrl: given.check_url }),
  server: ({ checkUrl }) => (checkUrl === undefined ? undefined : { url: new URL(checkUrl).origin }),
  async load(name, given, context) {
    // A vendor asked at another address, such as a proxy of the owner's, still speaks the vendor's way.
    const { checkUrl, ...vendor } = ownValue(vendors, name) ?? { checkUrl: undefined };
    return createApiKeyProvider({ ...context, ...vendor, checkUrl: given.checkUrl ?? checkUrl, name });
  },
});
