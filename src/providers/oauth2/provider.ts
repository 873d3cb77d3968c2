import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { Provider, QuotaAnswer, TokenGrant } from '../../core/provider.ts';
import { isLoopbackUrl } from '../../lib/addresses/loopback.ts';
import { checkApiKey } from '../api-key/index.ts';
import { askJson } from '../ask-json.ts';
import type { ProviderContext } from '../definition.ts';
import { createPostForm, type TokenAnswer } from '../tokens.ts';
import {
  askForToken,
  createDeviceLogins,
  type Oauth2Client,
  type Oauth2Settings,
  readTokens,
} from './client.ts';

export interface Oauth2ProviderOptions
  extends Oauth2Settings,
    Pick<ProviderContext, 'http' | 'tokenHttp' | 'userAgent'> {
  readonly name: string;
  readonly scope: string | undefined;
  /** Answers what is left, as JSON: see `quotaSchema`. */
  readonly quotaUrl: string | undefined;
  readonly now: () => number;
}

/** Any issuer of plain OAuth 2.0 tokens (RFC 6749), with logins on a second device where it has them (RFC 8628). */
export function createOauth2Provider(options: Oauth2ProviderOptions): Provider {
  const { name, quotaUrl, http, userAgent, now } = options;
  const { deviceAuthorizationUrl, tokenUrl } = options;
  const client: Oauth2Client = {
    settings: options,
    postForm: createPostForm(options.tokenHttp, userAgent),
    tokenHost: `providers.${name}.token_url`,
    deviceHost: `providers.${name}.device_authorization_url`,
    advice: 'Check its address, client_id and client_secret.',
  };
  const grantFrom = (answer: TokenAnswer): TokenGrant => readTokens(answer, client, now());

  return {
    name,
    normalizeApiKey: checkApiKey,
    async getQuota({ bearer }, signal) {
      if (quotaUrl === undefined) {
        const message = `Nothing can be asked about accounts of "${name}": set its quota_url.`;
        throw new AppError('upstream_protocol', message);
      }
      const headers = { authorization: `Bearer ${bearer}`, 'user-agent': userAgent };
      return readQuota(await askJson(http, { url: quotaUrl, headers, signal }));
    },
    tokens: {
      isLoopback: isLoopbackUrl(tokenUrl),
      async refresh(refreshToken) {
        const form = { grant_type: 'refresh_token', refresh_token: refreshToken };
        return grantFrom(await askForToken(client, form));
      },
    },
    ...(deviceAuthorizationUrl === undefined
      ? { missing: { logins: `Set providers.${name}.device_authorization_url in the configuration file.` } }
      : {
          logins: createDeviceLogins({
            client: { ...client, settings: { ...options, deviceAuthorizationUrl } },
            name: `providers.${name}`,
            scope: options.scope,
            grantFrom,
            noRefreshToken: `The login was approved, but "${name}" gave no refresh token: its scope may have to ask for one, such as offline_access.`,
          }),
        }),
  };
}

/** All optional; amounts in the provider's own unit. */
const quotaSchema = z.looseObject({
  unlimited: z.boolean().nullish(),
  limit: z.number().nullish(),
  used: z.number().nullish(),
  remaining: z.number().nullish(),
  reset_at: z.iso.datetime({ offset: true }).nullish(),
});

function readQuota(answer: unknown): QuotaAnswer {
  const quota = quotaSchema.safeParse(answer).data ?? {};
  const { limit, used, remaining, reset_at } = quota;
  return {
    isUnlimited: quota.unlimited === true,
    ...(typeof limit === 'number' ? { limit } : {}),
    ...(typeof used === 'number' ? { used } : {}),
    ...(typeof remaining === 'number' ? { remaining } : {}),
    ...(typeof reset_at === 'string' ? { resetAt: new Date(reset_at) } : {}),
  };
}
