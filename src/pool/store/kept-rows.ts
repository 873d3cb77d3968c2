/**
 * What the pool's tables hold at most, by age and, where a caller adds rows, by number: otherwise a borrower could fill the
 * disk. Sessions and leases expire, and there are no more of them than places on accounts.
 */
const hour = 60 * 60_000;
const day = 24 * hour;

/** Ids of reports, so that one that is sent again counts once. */
export const reportsKeptMs = 6 * hour;
export const mostReports = 200_000;
export const spendingKeptMs = 48 * hour;
export const intentsKeptMs = 30 * day;
export const auditKeptMs = 400 * day;
/** Leases to programs are kept only among this many last entries, so that they push out nothing else. */
export const mostAuditedLeases = 100_000;
/** How many old entries one round looks at. */
export const auditAtOnce = 1_000;
