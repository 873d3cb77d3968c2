/** The key of a client: what is decided for one client is decided by it. */
export interface ClientKey {
  /**
   * Tells clients apart without naming the key: the digest of a configured key, a random secret of a managed one, which
   * survives its rotation. What is kept for a client lies under it.
   */
  readonly id: string;
  /** Any key or none was taken: it counts while that is so. */
  readonly isAnyone?: true;
  /** Absent for API_KEYS, and where any key is taken. */
  readonly managed?: ManagedKey;
}

/** A key that an operator made, as it is now. */
export interface ManagedKey {
  /** Names the key where it may be read: `key_…`. */
  readonly keyId: string;
  /** Unique among all keys. */
  readonly name: string;
  /** Who answers for it, a person or a team. */
  readonly owner: string | null;
  /** Names or patterns with `*` of models; null: all. */
  readonly models: readonly string[] | null;
  /** Names of providers; null: all. */
  readonly providers: readonly string[] | null;
  /** Its turns go only to accounts with one of these labels; null: to any. */
  readonly labels: readonly string[] | null;
  readonly limits: KeyLimits;
  /** Milliseconds since 1970; null: never. */
  readonly expiresAt: number | null;
  readonly isEnabled: boolean;
  /** Grows with every change of any key. */
  readonly revision: number;
}

export interface KeyLimits {
  readonly requests_per_minute?: number | undefined;
  readonly tokens_per_minute?: number | undefined;
  readonly parallel_turns?: number | undefined;
  readonly budgets: readonly KeyBudget[];
  /** The IANA name of the zone whose days, weeks and months count; UTC if absent. */
  readonly time_zone?: string | undefined;
}

export interface KeyBudget {
  readonly meter: 'requests' | 'tokens' | 'cost_cents' | 'credits';
  readonly window: 'day' | 'week' | 'month' | 'total';
  readonly limit: number;
}
