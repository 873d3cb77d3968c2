// What the token endpoints answer: Firebase's two, in snake and in camel case, and a plain OAuth 2.0 one.
import { randomBytes } from 'node:crypto';
import { createBoundedMap } from './bounded-map.ts';
import type { DeviceDialect, Devices, PollError } from './devices.ts';
import {
  customTokenPrefix,
  type Issued,
  type Refused,
  type TokenAccount,
  type TokenAccounts,
} from './token-accounts.ts';
import type { Answer } from './token-faults.ts';

/** A call that was understood: whom it is about, and what it would do. */
export interface TokenCall {
  /** Undefined where the call names nobody known. */
  readonly account: TokenAccount | undefined;
  /** A refresh asks for an account; the other calls do not count against one. */
  readonly isRefresh: boolean;
  execute(): Answer;
  /** Says a word of Firebase's about the token, in the endpoint's own way. */
  refuse(word: string): Answer;
}

export interface TokenRequest {
  readonly path: string;
  /** `?key=` */
  readonly key: string | null;
  readonly form: URLSearchParams;
  readonly authorization: string | undefined;
  /** Scheme and host by which the sandbox was called. */
  readonly origin: string;
}

export const tokenPaths = [
  '/v1/token',
  '/proxy/token',
  '/v1/accounts:signInWithCustomToken',
  '/proxy/customToken',
  '/api/v1/oauth/device/auth',
  '/api/v1/oauth/token',
  '/oauth/device_authorization',
  '/oauth/token',
] as const;
type TokenPath = (typeof tokenPaths)[number];

export interface TokenEndpoints {
  /** An answer where the request itself is at fault. */
  read(request: TokenRequest): TokenCall | Answer;
}

const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';
const customTokenSeconds = 300;

export function createTokenEndpoints(
  accounts: TokenAccounts,
  devices: Devices,
  now: () => number,
): TokenEndpoints {
  const customTokens = createBoundedMap<{ readonly email: string; readonly expiresAt: number }>(1_000);

  const refreshAtFirebase = ({ form }: TokenRequest): TokenCall | Answer => {
    if (form.get('grant_type') !== 'refresh_token') return firebaseError('INVALID_GRANT_TYPE');
    const refreshToken = form.get('refresh_token');
    if (!refreshToken) return firebaseError('MISSING_REFRESH_TOKEN');
    return {
      account: accounts.ownerOf(refreshToken),
      isRefresh: true,
      refuse: firebaseError,
      execute() {
        const result = accounts.refresh(refreshToken);
        if (typeof result === 'string') return firebaseError(firebaseWord(result));
        return ok({
          expires_in: String(result.lifetimeSeconds),
          token_type: 'Bearer',
          refresh_token: result.refreshToken,
          id_token: result.bearer,
          user_id: result.account.id,
          project_id: 'sandbox',
        });
      },
    };
  };

  const exchangeCustomToken = ({ form }: TokenRequest): TokenCall | Answer => {
    const token = form.get('token');
    if (!token) return firebaseError('MISSING_CUSTOM_TOKEN');
    const custom = customTokens.get(token);
    return {
      account: custom && accounts.find(custom.email),
      isRefresh: false,
      refuse: firebaseError,
      execute() {
        if (custom === undefined || custom.expiresAt <= now()) return firebaseError('INVALID_CUSTOM_TOKEN');
        const issued = logIn(custom.email);
        if (issued.account.closed !== null) return firebaseError(issued.account.closed);
        return ok({
          kind: 'identitytoolkit#VerifyCustomTokenResponse',
          idToken: issued.bearer,
          ...(form.get('returnSecureToken') === 'true' ? { refreshToken: issued.refreshToken } : {}),
          expiresIn: String(issued.lifetimeSeconds),
          isNewUser: false,
        });
      },
    };
  };

  const withKey =
    (next: (request: TokenRequest) => TokenCall | Answer) =>
    (request: TokenRequest): TokenCall | Answer => {
      const { apiKey } = accounts.settings;
      if (!request.key) return firebaseError('The request is missing a valid API key.', 403);
      if (apiKey !== null && request.key !== apiKey) return firebaseError('API key not valid.');
      return next(request);
    };

  const logIn = (email: string): Issued => {
    const { account, refreshToken, lifetimeSeconds } = accounts.logIn({ email });
    return { account, refreshToken, lifetimeSeconds, bearer: accounts.mint(account) };
  };

  const startDevice =
    (dialect: DeviceDialect) =>
    ({ form, origin }: TokenRequest): TokenCall | Answer => {
      const clientId = form.get('client_id');
      if (!clientId) return oauthError('invalid_request', 'client_id is missing');
      return {
        account: undefined,
        isRefresh: false,
        refuse: (word) => oauthError('invalid_request', word),
        execute() {
          const device = devices.start(dialect, clientId);
          return ok({
            device_code: device.deviceCode,
            user_code: device.userCode,
            verification_uri: `${origin}/device`,
            verification_uri_complete: `${origin}/device?user_code=${device.userCode}`,
            expires_in: Math.round((device.expiresAt - now()) / 1_000),
            interval: device.intervalSeconds,
          });
        },
      };
    };

  const pollDevice = (dialect: DeviceDialect, form: URLSearchParams): TokenCall | Answer => {
    const deviceCode = form.get('device_code');
    const clientId = form.get('client_id');
    if (!deviceCode || !clientId) return oauthError('invalid_request', 'device_code or client_id is missing');
    return {
      account: undefined,
      isRefresh: false,
      refuse: (word) => oauthError('invalid_grant', word),
      execute() {
        const polled = devices.poll(dialect, deviceCode, clientId);
        if (typeof polled === 'string') return oauthError(polled, `sandbox: ${polled}`);
        const email = polled.email ?? '';
        if (dialect === 'oauth') return oauthGrant(logIn(email));
        const custom = `${customTokenPrefix}${randomBytes(24).toString('base64url')}`;
        customTokens.set(custom, { email, expiresAt: now() + customTokenSeconds * 1_000 });
        return ok({ access_token: custom, token_type: 'Bearer', expires_in: customTokenSeconds });
      },
    };
  };

  const pollAtWarp = ({ form }: TokenRequest): TokenCall | Answer =>
    form.get('grant_type') === deviceGrant
      ? pollDevice('warp', form)
      : oauthError('unsupported_grant_type', 'only the device grant');

  const plainToken = (request: TokenRequest): TokenCall | Answer => {
    const { clientSecret } = accounts.settings;
    const form = withBasicClient(request);
    if (clientSecret !== null && form.get('client_secret') !== clientSecret) {
      return oauthError('invalid_client', 'the client secret is missing or wrong', 401);
    }
    if (form.get('grant_type') === deviceGrant) return pollDevice('oauth', form);
    if (form.get('grant_type') !== 'refresh_token') {
      return oauthError('unsupported_grant_type', 'only the refresh and the device grant');
    }
    const refreshToken = form.get('refresh_token');
    if (!refreshToken) return oauthError('invalid_request', 'refresh_token is missing');
    return {
      account: accounts.ownerOf(refreshToken),
      isRefresh: true,
      refuse: (word) => oauthError('invalid_grant', word),
      execute() {
        const result = accounts.refresh(refreshToken);
        if (typeof result === 'string') return oauthError('invalid_grant', `the token is ${result}`);
        return oauthGrant(result, result.refreshToken !== refreshToken);
      },
    };
  };

  const routes = new Map<TokenPath, (request: TokenRequest) => TokenCall | Answer>([
    ['/v1/token', withKey(refreshAtFirebase)],
    ['/proxy/token', withKey(refreshAtFirebase)],
    ['/v1/accounts:signInWithCustomToken', withKey(exchangeCustomToken)],
    ['/proxy/customToken', withKey(exchangeCustomToken)],
    ['/api/v1/oauth/device/auth', startDevice('warp')],
    ['/api/v1/oauth/token', pollAtWarp],
    ['/oauth/device_authorization', startDevice('oauth')],
    ['/oauth/token', plainToken],
  ]);
  return {
    read: (request) =>
      routes.get(request.path as TokenPath)?.(request) ?? { status: 404, body: { error: 'not found' } },
  };
}

export function isCall(read: TokenCall | Answer): read is TokenCall {
  return 'execute' in read;
}

function firebaseWord(refused: Refused): string {
  switch (refused) {
    case 'unknown':
    case 'replaced':
      return 'INVALID_REFRESH_TOKEN';
    case 'revoked':
      return 'TOKEN_EXPIRED';
    default:
      return refused;
  }
}

function firebaseError(message: string, status = 400): Answer {
  return { status, body: { error: { code: status, message } } };
}

function oauthError(error: PollError | string, description: string, status = 400): Answer {
  return { status, body: { error, error_description: description } };
}

/** A server may leave out a refresh token that stays the same (RFC 6749, section 6). */
function oauthGrant({ bearer, refreshToken, lifetimeSeconds }: Issued, isNewToken = true): Answer {
  return ok({
    access_token: bearer,
    token_type: 'Bearer',
    expires_in: lifetimeSeconds,
    ...(isNewToken ? { refresh_token: refreshToken } : {}),
  });
}

function ok(body: unknown): Answer {
  return { status: 200, body, headers: { 'cache-control': 'no-store' } };
}

/** Clients may also name and prove themselves in the Authorization header (RFC 6749, section 2.3.1). */
function withBasicClient({ form, authorization }: TokenRequest): URLSearchParams {
  const basic = /^Basic\s+(\S+)\s*$/i.exec(authorization ?? '')?.[1];
  if (basic === undefined) return form;
  const text = Buffer.from(basic, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  const decoded = (part: string): string => decodeURIComponent(part.replaceAll('+', ' '));
  const whole = new URLSearchParams(form);
  whole.set('client_id', decoded(text.slice(0, colon)));
  whole.set('client_secret', decoded(text.slice(colon + 1)));
  return whole;
}
