import {
  deviceAuthorizationRequest,
  deviceCodeGrantRequest,
  processDeviceAuthorizationResponse,
  processDeviceCodeResponse,
  ResponseBodyError,
  type TokenEndpointResponse,
} from 'oauth4webapi';
import { type DeviceLogins, TokenError, type TokenGrant } from '../../core/provider.ts';
import { ownValue } from '../../lib/own-value.ts';
import type { Exchange } from './client.ts';

export interface DeviceLoginOptions {
  /** Who is named in errors. */
  readonly name: string;
  readonly scope?: string | undefined;
  begin(place: 'device' | 'token', signal: AbortSignal | undefined): Exchange;
  grantFrom(
    tokens: TokenEndpointResponse,
    exchange: Exchange,
    signal: AbortSignal | undefined,
  ): TokenGrant | Promise<TokenGrant>;
  /** Why a grant has no refresh token, without which the login is of no use. */
  readonly noRefreshToken: string;
}

const usualIntervalSeconds = 5;
const pollResults: Readonly<Record<string, 'pending' | 'slow_down' | 'denied' | 'expired'>> = {
  authorization_pending: 'pending',
  slow_down: 'slow_down',
  access_denied: 'denied',
  expired_token: 'expired',
};

/** Logins on a second device (RFC 8628). */
export function createDeviceLogins(options: DeviceLoginOptions): DeviceLogins {
  const { name, scope, begin, grantFrom, noRefreshToken } = options;
  return {
    async start(signal) {
      const exchange = begin('device', signal);
      const { server, client, authentication } = exchange;
      try {
        const parameters = scope === undefined ? {} : { scope };
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
          throw new TokenError('refused', `${name} named no web page to log in at.`);
        }
        return {
          deviceCode: begun.device_code,
          userCode: begun.user_code,
          verificationUri,
          ...(complete === undefined ? {} : { verificationUriComplete: complete }),
          expiresInMs: begun.expires_in * 1_000,
          intervalMs: (begun.interval ?? usualIntervalSeconds) * 1_000,
        };
      } catch (error) {
        throw exchange.failure(error);
      }
    },

    async poll(deviceCode, signal) {
      const exchange = begin('token', signal);
      const { server, client, authentication } = exchange;
      try {
        const response = await deviceCodeGrantRequest(
          server,
          client,
          authentication,
          deviceCode,
          exchange.options,
        );
        const tokens = await processDeviceCodeResponse(server, client, response);
        const { refreshToken, ...grant } = await grantFrom(tokens, exchange, signal);
        if (refreshToken === undefined) throw new TokenError('invalid_grant', noRefreshToken);
        return { result: 'granted', grant: { ...grant, refreshToken } };
      } catch (error) {
        const word = error instanceof ResponseBodyError ? error.error : '';
        const result = ownValue(pollResults, word);
        if (result !== undefined) return { result };
        // Asking again would change nothing.
        if (word === 'invalid_client' || word === 'unauthorized_client') {
          const message = `${name} does not take this client (${word}). Check its settings, then start the login again.`;
          throw new TokenError('invalid_grant', message);
        }
        throw exchange.failure(error);
      }
    },
  };
}

/** A person will open it, so that nothing but a web page may come this way. */
function webAddress(text: string | undefined): string | undefined {
  return text !== undefined && URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
    ? text
    : undefined;
}
