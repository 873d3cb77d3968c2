import { type LoginRecord, loginPrefix, readLogin } from './login-record.ts';
import type { Store } from './store/store.ts';

/** A login with the text it was read from, by which a change of somebody else's is noticed. */
export interface StoredLogin {
  readonly record: LoginRecord;
  readonly text: string;
}

/** Logins among the facts of the store, so that they outlive a restart and every instance sees them. */
export interface LoginStore {
  add(record: LoginRecord): Promise<void>;
  find(id: string): Promise<StoredLogin | null>;
  all(): Promise<readonly StoredLogin[]>;
  pending(): Promise<readonly StoredLogin[]>;
  /** Null when another instance has changed it since. */
  replace(found: StoredLogin, record: LoginRecord): Promise<StoredLogin | null>;
  forget(id: string, text: string): Promise<void>;
}

export function createLoginStore(store: Store): LoginStore {
  const all = async (): Promise<readonly StoredLogin[]> =>
    (await store.rememberedUnder(loginPrefix)).flatMap(({ value }) => storedLogin(value) ?? []);
  return {
    all,
    async add(record) {
      await store.remember(loginPrefix + record.id, JSON.stringify(record));
    },
    async find(id) {
      const text = await store.remembered(loginPrefix + id);
      return text === null ? null : storedLogin(text);
    },
    pending: async () => (await all()).filter(({ record }) => record.status === 'pending'),
    async replace(found, record) {
      const text = JSON.stringify(record);
      const isMine = await store.swapRemembered(loginPrefix + record.id, found.text, text);
      return isMine ? { record, text } : null;
    },
    async forget(id, text) {
      await store.swapRemembered(loginPrefix + id, text, null);
    },
  };
}

function storedLogin(text: string): StoredLogin | null {
  const record = readLogin(text);
  return record === null ? null : { record, text };
}
