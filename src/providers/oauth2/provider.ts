import {
  deviceAuthorizationRequest,
  deviceCodeGrantRequest,
  processDeviceAuthorizationResponse,
  processDeviceCodeResponse,
  processRefreshTokenResponse,
  ResponseBodyError,
  refreshTokenGrantRequest,
  type TokenEndpointResponse,
} from 'oauth4webapi';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import {
  type DeviceLogins,
  type Provider,
  type ProviderHttp,
  type QuotaAnswer,
  TokenError,
  type TokenGrant,
} from '../../core/provider.ts';
import { isLoopbackUrl } from '../../lib/loopback.ts';
import { ownValue } from '../../lib/own-value.ts';
import { checkApiKey } from '../api-key.ts';
import { askJson } from '../ask-json.ts';
import { grantOf, textField } from '../token-grant.ts';
import { beginExchange, type Exchange, type Oauth2Settings } from './client.ts';

export interface Oauth2ProviderOptions extends Oauth2Settings {
  readonly name: string;
  /** Answers what is left, as JSON: see `quotaSchema`. */
  readonly quotaUrl: string | undefined;
  readonly http: ProviderHttp;
  readonly tokenHttp: ProviderHttp;
  readonly userAgent: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const usualIntervalMs = 5_000;

/** Any issuer of plain OAuth 2.0 tokens (RFC 6749), with logins on a second device where it has them (RFC 8628). */
export function createOauth2Provider(options: Oauth2ProviderOptions): Provider {
  const { name, quotaUrl, http, userAgent, now } = options;
  const begin = (setting: string, signal?: AbortSignal): Exchange =>
    beginExchange(options, {
      http: options.tokenHttp,
      userAgent,
      host: `providers.${name}.${setting}`,
      signal,
    });

  const grantFrom = (tokens: TokenEndpointResponse, exchange: Exchange): TokenGrant => {
    const bearer = textField(tokens, 'access_token');
    if (bearer === undefined) {
      throw new TokenError('unknown', `providers.${name}.token_url gave a token that no header can hold.`);
    }
    return grantOf({
      bearer,
      refreshToken: tokens.refresh_token,
      lifetimeSeconds: tokens.expires_in,
      idToken: exchange.idToken(),
      now: now(),
    });
  };

  const logins: DeviceLogins = {
    async start(signal) {
      const exchange = begin('device_authorization_url', signal);
      const { server, client, authentication } = exchange;
      try {
        const parameters = options.scope === undefined ? {} : { scope: options.scope };
        const response = await deviceAuthorizationRequest(
          server,
          client,
          authentication,
          parameters,
          exchange.options,
        );
        const begun = await processDeviceAuthorizationResponse(server, client, response);
        const complete = webAddress(begun.verification_uri_complete);
        const verificationUri = webAddress(begun.verification_uri);
        if (verificationUri === undefined) {
          throw new TokenError('refused', `providers.${name} named no web page to log in at.`);
        }
        return {
          deviceCode: begun.device_code,
          userCode: begun.user_code,
          verificationUri,
          ...(complete === undefined ? {} : { verificationUriComplete: complete }),
          expiresInMs: begun.expires_in * 1_000,
          intervalMs: begun.interval === undefined ? usualIntervalMs : begun.interval * 1_000,
        };
      } catch (error) {
        throw exchange.failure(error);
      }
    },

    async poll(deviceCode, signal) {
      const exchange = begin('token_url', signal);
      const { server, client, authentication } = exchange;
      try {
        const response = await deviceCodeGrantRequest(
          server,
          client,
          authentication,
          deviceCode,
          exchange.options,
        );
        const grant = grantFrom(await processDeviceCodeResponse(server, client, response), exchange);
        if (grant.refreshToken === undefined) {
          throw new TokenError(
            'invalid_grant',
            `The login was approved, but "${name}" gave no refresh token: its scope may have to ask for one, such as offline_access.`,
          );
        }
        return { result: 'granted', grant: { ...grant, refreshToken: grant.refreshToken } };
      } catch (error) {
        const result = error instanceof ResponseBodyError ? ownValue(pollResults, error.error) : undefined;
        if (result !== undefined) return { result };
        throw exchange.failure(error);
      }
    },
  };

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
      isLoopback: isLoopbackUrl(options.tokenUrl),
      async refresh(refreshToken) {
        const exchange = begin('token_url');
        const { server, client, authentication } = exchange;
        try {
          const response = await refreshTokenGrantRequest(
            server,
            client,
            authentication,
            refreshToken,
            exchange.options,
          );
          return grantFrom(await processRefreshTokenResponse(server, client, response), exchange);
        } catch (error) {
          throw exchange.failure(error);
        }
      },
    },
    ...(options.deviceAuthorizationUrl === undefined
      ? { missing: { logins: `Set providers.${name}.device_authorization_url in the configuration file.` } }
      : { logins }),
  };
}

const pollResults: Readonly<Record<string, 'pending' | 'slow_down' | 'denied' | 'expired'>> = {
  authorization_pending: 'pending',
  slow_down: 'slow_down',
  access_denied: 'denied',
  expired_token: 'expired',
};

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

function webAddress(text: string | undefined): string | undefined {
  return text !== undefined && URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
    ? text
    : undefined;
}
