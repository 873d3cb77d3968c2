import { z } from 'zod';
import { safeAddress, variableName } from '../../lib/setting.ts';
import { defineType } from '../definition.ts';

const text = z.string().min(1);

/** Any issuer of plain OAuth 2.0 tokens. */
export const oauth2 = defineType({
  type: 'oauth2',
  schema: z
    .strictObject({
      type: z.literal('oauth2'),
      token_url: safeAddress,
      client_id: text,
      client_secret: text.optional(),
      client_secret_env: variableName.optional(),
      device_authorization_url: safeAddress.optional(),
      scope: text.optional(),
      quota_url: safeAddress.optional(),
    })
    .refine((given) => given.client_secret === undefined || given.client_secret_env === undefined, {
      message: 'give client_secret or client_secret_env, not both',
      path: ['client_secret'],
    }),
  read: (given, reader) => ({
    type: given.type,
    tokenUrl: given.token_url,
    clientId: given.client_id,
    clientSecret:
      given.client_secret_env === undefined
        ? given.client_secret
        : reader.variable('client_secret_env', given.client_secret_env),
    deviceAuthorizationUrl: given.device_authorization_url,
    scope: given.scope,
    quotaUrl: given.quota_url,
  }),
  secretsOf: ({ clientSecret }) => [clientSecret],
  server: ({ tokenUrl }) => ({ url: new URL(tokenUrl).origin }),
  async load(name, configured, { clock, ...context }) {
    const { createOauth2Provider } = await import('./provider.ts');
    return createOauth2Provider({ ...context, ...configured, now: clock.now, name });
  },
});
