// The test's controls over HTTP, for a sandbox that runs in another process.
import { z } from 'zod';
import type { Accounts } from './accounts.ts';
import { type Answer, faultKinds } from './token-faults.ts';
import type { SandboxTokens } from './token-server.ts';
import type { SandboxTransport } from './transport.ts';

type Controlled = Pick<Accounts, 'setCredits' | 'setAvailability' | 'setTeams' | 'setKeyScenario'> & {
  readonly tokens: SandboxTokens;
  readonly transport: SandboxTransport;
};

const seconds = z.number().min(0);
const settingsBody = z.strictObject({
  rotation: z.enum(['never', 'always', 'grace']).optional(),
  grace_seconds: seconds.optional(),
  lifetime_seconds: seconds.optional(),
  window_seconds: seconds.optional(),
  api_key: z.string().nullable().optional(),
  client_secret: z.string().nullable().optional(),
  device_interval_seconds: seconds.optional(),
  device_lifetime_seconds: seconds.optional(),
});
const accountsBody = z.strictObject({
  email: z.string().optional(),
  refresh_token: z.string().optional(),
  count: z.int().min(1).max(1_000).default(1),
});
const accountBody = z.strictObject({
  account: z.string(),
  closed: z.enum(['USER_DISABLED', 'USER_NOT_FOUND']).nullable(),
});
const revokeBody = z.union([
  z.strictObject({ bearer: z.string() }),
  z.strictObject({ account: z.string(), what: z.enum(['bearers', 'refresh_tokens']).default('bearers') }),
]);
const faultBody = z.strictObject({
  kind: z.enum(faultKinds),
  times: z.int().min(1).optional(),
  path: z.string().optional(),
  account: z.string().optional(),
  retry_after_seconds: seconds.optional(),
  delay_ms: z.number().min(0).optional(),
});
const clockBody = z.strictObject({ advance_seconds: z.number() });
const deviceBody = z.strictObject({
  user_code: z.string(),
  action: z.enum(['approve', 'deny']),
  email: z.string().optional(),
});
const creditsBody = z.strictObject({
  /** A key, or the id of an account that logs in. */
  account: z.string(),
  credits: z
    .strictObject({
      limit: z.int(),
      used: z.int(),
      next_refresh_time: z.iso.datetime().optional(),
      is_unlimited: z.boolean().optional(),
    })
    .nullable(),
});
const availabilityBody = z.strictObject({
  account: z.string(),
  availability: z
    .strictObject({
      available: z.boolean(),
      denial_reason: z.enum([
        'NONE',
        'OUT_OF_CREDITS',
        'DELINQUENT',
        'ENTERPRISE_TEAM_SPEND_LIMIT_HIT',
        'ENTERPRISE_PER_USER_SPEND_LIMIT_HIT',
        'ENTERPRISE_WORKSPACE_SPEND_LIMIT_HIT',
      ]),
      credit_source: z.enum(['BASE_LIMIT', 'BONUS_GRANT', 'PAYG', 'OVERAGE']).nullable(),
    })
    .nullable(),
});

const transportBody = z.strictObject({
  action: z.enum(['destroy', 'goaway', 'freeze', 'outage']),
  /** One connection; without it a random busy one is destroyed, and all are sent away or frozen. */
  connection: z.int().optional(),
  /** How long an outage is. */
  seconds: seconds.optional(),
});
const scenarioBody = z.strictObject({ account: z.string(), scenario: z.string().nullable() });
const teamsBody = z.strictObject({ account: z.string(), teams: z.array(z.string()).nullable() });

type Control = (controlled: Controlled, body: unknown, url: URL) => unknown;

export const controls: ReadonlyMap<string, Control> = new Map([
  [
    'GET /sandbox/tokens',
    ({ tokens }, _body, url) => {
      const wanted = url.searchParams.get('account');
      if (wanted === null) return snakeCased(tokens.stats());
      const found = tokens.account(wanted);
      if (found === undefined) throw new Error(`there is no account "${wanted}"`);
      return snakeCased(found);
    },
  ],
  [
    'POST /sandbox/tokens',
    ({ tokens }, body) => {
      const { device_interval_seconds, device_lifetime_seconds, ...rest } = settingsBody.parse(body);
      const device = definedOnly({
        intervalSeconds: device_interval_seconds,
        lifetimeSeconds: device_lifetime_seconds,
      });
      tokens.set({
        ...definedOnly({
          rotation: rest.rotation,
          graceSeconds: rest.grace_seconds,
          lifetimeSeconds: rest.lifetime_seconds,
          windowSeconds: rest.window_seconds,
          apiKey: rest.api_key,
          clientSecret: rest.client_secret,
        }),
        device,
      });
      return { ok: true };
    },
  ],
  [
    'POST /sandbox/accounts',
    ({ tokens }, body) => {
      const { count, email, refresh_token } = accountsBody.parse(body);
      const given = definedOnly({ email, refreshToken: refresh_token });
      const made = Array.from({ length: count }, () => tokens.addAccount(given));
      return { accounts: made.map(snakeCased) };
    },
  ],
  [
    'PATCH /sandbox/accounts',
    ({ tokens }, body) => {
      const { account, closed } = accountBody.parse(body);
      tokens.close(account, closed);
      return { ok: true };
    },
  ],
  [
    'POST /sandbox/bearers',
    ({ tokens }, body) => ({
      bearer: tokens.mint(z.strictObject({ account: z.string() }).parse(body).account),
    }),
  ],
  [
    'POST /sandbox/revoke',
    ({ tokens }, body) => {
      const wanted = revokeBody.parse(body);
      if ('bearer' in wanted || wanted.what === 'bearers') tokens.revoke(wanted);
      else tokens.revokeRefreshTokens(wanted.account);
      return { ok: true };
    },
  ],
  [
    'POST /sandbox/faults',
    ({ tokens }, body) => {
      const { retry_after_seconds, delay_ms, ...fault } = faultBody.parse(body);
      tokens.fail({
        kind: fault.kind,
        ...definedOnly({
          times: fault.times,
          path: fault.path,
          account: fault.account,
          retryAfterSeconds: retry_after_seconds,
          delayMs: delay_ms,
        }),
      });
      return { ok: true };
    },
  ],
  [
    'DELETE /sandbox/faults',
    ({ tokens }) => {
      tokens.clearFaults();
      return { ok: true };
    },
  ],
  [
    'POST /sandbox/clock',
    ({ tokens }, body) => {
      tokens.advance(clockBody.parse(body).advance_seconds);
      return { ok: true };
    },
  ],
  [
    'POST /sandbox/credits',
    ({ setCredits }, body) => {
      const { account, credits } = creditsBody.parse(body);
      setCredits(
        account,
        credits === null
          ? undefined
          : {
              limit: credits.limit,
              used: credits.used,
              ...definedOnly({ isUnlimited: credits.is_unlimited }),
              ...(credits.next_refresh_time === undefined
                ? {}
                : { nextRefreshTime: new Date(credits.next_refresh_time) }),
            },
      );
      return { ok: true };
    },
  ],
  [
    'POST /sandbox/availability',
    ({ setAvailability }, body) => {
      const { account, availability } = availabilityBody.parse(body);
      setAvailability(
        account,
        availability === null
          ? undefined
          : {
              available: availability.available,
              denialReason: availability.denial_reason,
              creditSource: availability.credit_source,
            },
      );
      return { ok: true };
    },
  ],
  [
    'POST /sandbox/teams',
    ({ setTeams }, body) => {
      const { account, teams } = teamsBody.parse(body);
      setTeams(account, teams ?? undefined);
      return { ok: true };
    },
  ],
  [
    'POST /sandbox/scenarios',
    ({ setKeyScenario }, body) => {
      const { account, scenario } = scenarioBody.parse(body);
      setKeyScenario(account, scenario ?? undefined);
      return { ok: true };
    },
  ],
  [
    'GET /sandbox/transport',
    ({ transport }) => ({
      ...snakeCased(transport.stats()),
      certificate: transport.certificate ?? null,
    }),
  ],
  [
    'POST /sandbox/transport',
    ({ transport }, body) => {
      const { action, connection, seconds: outage = 10 } = transportBody.parse(body);
      if (action === 'destroy') return { connection: transport.destroySession(connection) ?? null };
      if (action === 'goaway') transport.goAway(connection);
      else if (action === 'freeze') transport.freeze(connection);
      else transport.outage(outage * 1_000);
      return { ok: true };
    },
  ],
  [
    'GET /sandbox/devices',
    ({ tokens }) => ({
      devices: tokens.devices().map(({ deviceCode: _secret, ...device }) => snakeCased(device)),
    }),
  ],
  [
    'POST /sandbox/devices',
    ({ tokens }, body) => {
      const { user_code, action, email } = deviceBody.parse(body);
      if (!tokens.decide(user_code, action, email)) throw new Error('no device waits under this code');
      return { ok: true };
    },
  ],
]);

/** Unknown controls are 404, a body that does not fit or a name there is nothing of 400. */
export function answerControl(controlled: Controlled, method: string, url: URL, text: string): Answer {
  const control = controls.get(`${method} ${url.pathname}`);
  if (control === undefined) return { status: 404, body: { error: `no ${method} ${url.pathname}` } };
  try {
    return { status: 200, body: control(controlled, text === '' ? {} : JSON.parse(text), url) };
  } catch (error) {
    return { status: 400, body: { error: error instanceof Error ? error.message : String(error) } };
  }
}

function snakeCased(value: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      inner,
    ]),
  );
}

type Defined<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> };

function definedOnly<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}
