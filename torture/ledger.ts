/** Who holds which account, as the callers themselves saw it, and what can never be. Times are milliseconds since 1970. */
export interface Ledger {
  /** A lease that a caller was just told of. */
  granted(session: string, account: string, fence: number, until: number): void;
  /** Called before the release is sent: from here on another caller may have the accounts. */
  releasing(session: string): void;
  /** What went wrong, in words. */
  readonly violations: readonly string[];
  readonly grants: number;
}

interface Holding {
  readonly session: string;
  readonly fence: number;
  readonly until: number;
}

/** `slackMs` forgives a holder whose time ended while the grant to the next one was on its way. */
export function createLedger(now: () => number, slackMs = 50): Ledger {
  const holders = new Map<string, Holding>();
  const highestFences = new Map<string, number>();
  const violations: string[] = [];
  let grants = 0;

  return {
    granted(session, account, fence, until) {
      grants += 1;
      const holder = holders.get(account);
      const isHeldByOther =
        holder !== undefined && holder.session !== session && holder.until - slackMs > now();
      if (isHeldByOther) {
        violations.push(
          `${account} was lent to ${session} (fence ${fence}) while ${holder.session} held it (fence ${holder.fence})`,
        );
      }
      const highest = highestFences.get(account) ?? 0;
      const isSameLease = holder?.session === session && holder.fence === fence;
      if (fence < highest || (fence === highest && !isSameLease)) {
        violations.push(`${account} came with fence ${fence} after fence ${highest}`);
      }
      highestFences.set(account, Math.max(fence, highest));
      holders.set(account, { session, fence, until });
    },
    releasing(session) {
      for (const [account, holder] of holders) if (holder.session === session) holders.delete(account);
    },
    violations,
    get grants() {
      return grants;
    },
  };
}
