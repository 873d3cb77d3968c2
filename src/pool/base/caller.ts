/** Who calls. */
export interface Caller {
  /** A borrower may allocate, release, report and read events; an admin everything. */
  readonly role: 'admin' | 'borrower';
  /** A stable digest of the caller's key, or `localKeyId` where there are no keys. */
  readonly keyId: string;
  /** May borrow accounts whose owner lends them to the gateway only; gives back idle leases when asked. */
  readonly isGateway: boolean;
  /** Surely the pool's owner: by ADMIN_KEY, or at the socket in DATA_DIR. Without keys every local program is an admin. */
  readonly isOwner?: boolean;
}

/** Of callers that show no key where none is needed. */
export const localKeyId = 'local';
