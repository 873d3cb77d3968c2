import { z } from 'zod';
import type { Login } from '../../pool-api/account-schema.ts';
import { loginStatuses } from '../../pool-api/schema.ts';
import { isoTime } from '../base/present.ts';

/** A login as the store remembers it. Times are milliseconds since 1970. */
export const loginRecord = z.object({
  id: z.string(),
  provider: z.string(),
  /** The key that asked for it. */
  actor: z.string(),
  status: z.enum(loginStatuses),
  userCode: z.string(),
  verificationUri: z.string(),
  verificationUriComplete: z.string().nullable(),
  expiresAt: z.number(),
  intervalMs: z.number(),
  /** When it may be asked about next. Moved on by the instance that asks, so that one does. */
  nextPollAt: z.number(),
  /** Failed questions in a row. */
  failures: z.number(),
  /** Readable by the vault only; null once it is of no more use. */
  deviceCode: z.string().nullable(),
  /** What was granted and is not an account yet: readable by the vault only. */
  grant: z.string().nullable(),
  account: z.object({
    label: z.string().nullable(),
    capacity: z.number(),
    models: z.array(z.string()).readonly().nullable(),
    free: z.boolean(),
    lend: z.enum(['any', 'gateway']),
    tier: z.number(),
    /** Absent in what older versions stored. */
    teamUid: z.string().nullable().default(null),
    standby: z.boolean(),
  }),
  /** Whose credential is to be replaced; null for a new account. */
  replaces: z.string().nullable(),
  accountId: z.string().nullable(),
  error: z.string().nullable(),
  finishedAt: z.number().nullable(),
});
export type LoginRecord = z.infer<typeof loginRecord>;

/** Logins are facts of the store. */
export const loginPrefix = 'login:';

/** What the secrets of a login are sealed as. */
export const codeField = 'device_code';
export const grantField = 'login_grant';

export function resealedLogin(
  text: string,
  again: (id: string, field: string, sealed: string) => string,
): string | null {
  const record = loginRecord.safeParse(JSON.parse(text)).data;
  if (record === undefined || (record.deviceCode === null && record.grant === null)) return null;
  const { id, deviceCode, grant } = record;
  return JSON.stringify({
    ...record,
    deviceCode: deviceCode === null ? null : again(id, codeField, deviceCode),
    grant: grant === null ? null : again(id, grantField, grant),
  });
}

/** A login as its owner sees it: nothing by which a third party could take it over. */
export function presentLogin(record: LoginRecord): Login {
  return {
    id: record.id,
    provider: record.provider,
    status: record.status,
    user_code: record.userCode,
    verification_uri: record.verificationUri,
    verification_uri_complete: record.verificationUriComplete,
    expires_at: isoTime(record.expiresAt),
    interval_seconds: Math.ceil(record.intervalMs / 1000),
    account_id: record.accountId ?? record.replaces,
    error: record.error,
  };
}
