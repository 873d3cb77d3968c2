import { defaultCapacity, type NewAccount } from '../../pool-api/schema.ts';
import type { AccountSettings } from '../store/store.ts';

/** What an account has whose owner said nothing. */
export const defaultSettings: AccountSettings = {
  email: null,
  label: null,
  capacity: defaultCapacity,
  models: null,
  free: false,
  lend: 'any',
  tier: 0,
  teamUid: null,
};

/** What a new account's owner says of it beside the credential. */
export function settingsOf(given: Partial<NewAccount>): AccountSettings {
  return {
    email: given.email ?? defaultSettings.email,
    label: given.label ?? defaultSettings.label,
    capacity: given.capacity ?? defaultSettings.capacity,
    models: given.models ?? defaultSettings.models,
    free: given.free ?? defaultSettings.free,
    lend: given.lend ?? defaultSettings.lend,
    tier: given.tier ?? defaultSettings.tier,
    teamUid: given.team_uid ?? defaultSettings.teamUid,
  };
}
