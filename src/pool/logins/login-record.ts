import { z } from 'zod';
import { type Login, loginStatuses } from '../../pool-api/schema.ts';
import { isoTime } from '../base/present.ts';
import type { Store } from '../store/store.ts';

/** A login as the store remembers it. Times are milliseconds since 1970. */
const loginRecord = z.object({
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
  /** What came of it. */
  accountId: z.string().nullable(),
  error: z.string().nullable(),
  finishedAt: z.number().nullable(),
});
export type LoginRecord = z.infer<typeof loginRecord>;

export const loginPrefix = 'login:';

/** What the secrets of a login are sealed as. */
export const codeField = 'device_code';
export const grantField = 'login_grant';

/** The same login, its secrets sealed by `again`. */
export function resealedLogin(
  text: string,
  again: (id: string, field: string, sealed: string) => string,
): string | null {
  const record = readLogin(text);
  if (record === null || (record.deviceCode === null && record.grant === null)) return null;
  const { id, deviceCode, grant } = record;
  return JSON.stringify({
    ...record,
    deviceCode: deviceCode === null ? null : again(id, codeField, deviceCode),
    grant: grant === null ? null : again(id, grantField, grant),
  });
}

/** A login with the text it was read from, by which a change of another instance is noticed. */
export interface StoredLogin {
  readonly record: LoginRecord;
  readonly text: string;
}

/** Logins among the facts of the store, so that they outlive a restart and every instance sees them. */
export class LoginStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  add(record: LoginRecord): Promise<void> {
    return this.#store.remember(loginPrefix + record.id, JSON.stringify(record));
  }

  async find(id: string): Promise<StoredLogin | null> {
    const text = await this.#store.remembered(loginPrefix + id);
    return text === null ? null : storedLogin(text);
  }

  async all(): Promise<readonly StoredLogin[]> {
    const facts = await this.#store.rememberedUnder(loginPrefix);
    return facts.flatMap(({ value }) => storedLogin(value) ?? []);
  }

  async pending(): Promise<readonly StoredLogin[]> {
    return (await this.all()).filter(({ record }) => record.status === 'pending');
  }

  /** Null when another instance has changed it since. */
  async replace(found: StoredLogin, record: LoginRecord): Promise<StoredLogin | null> {
    const text = JSON.stringify(record);
    const isMine = await this.#store.swapRemembered(loginPrefix + record.id, found.text, text);
    return isMine ? { record, text } : null;
  }

  async forget({ record, text }: StoredLogin): Promise<void> {
    await this.#store.swapRemembered(loginPrefix + record.id, text, null);
  }
}

function storedLogin(text: string): StoredLogin | null {
  const record = readLogin(text);
  return record === null ? null : { record, text };
}

/** Null for what another version wrote and this one cannot read. */
export function readLogin(text: string): LoginRecord | null {
  return loginRecord.safeParse(JSON.parse(text)).data ?? null;
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
