import { lendMarginMs } from '../../standing/token-standing.ts';
import { type AccountRow, standingFrom } from '../rules/rows.ts';
import { endSessions, saveStanding, type Transaction } from './transaction.ts';

const atOnce = 100;

/** A row if a session, cooldown, exhaustion or bearer has expired and was not ended yet. */
export const isDueQuery = `SELECT 1 WHERE EXISTS (SELECT 1 FROM sessions WHERE expires_at <= $1)
  OR EXISTS (SELECT 1 FROM accounts /* INDEXED BY accounts_resting */
    WHERE state_until IS NOT NULL AND state_until <= $1)
  OR EXISTS (SELECT 1 FROM accounts /* INDEXED BY accounts_lapsing */
    WHERE state = 'active' AND bearer_expires_at IS NOT NULL AND bearer_expires_at <= $1::bigint + ${lendMarginMs})`;

/**
 * Ends some sessions, cooldowns, exhaustions and bearers whose time has come, and leaves those that another transaction
 * has locked. Answers how many it ended.
 */
export async function reapSome(tx: Transaction): Promise<number> {
  const { db, now } = tx;
  const expired = await db.all<{ id: string }>(
    `SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT ${atOnce} FOR UPDATE SKIP LOCKED`,
    now,
  );
  if (expired.length > 0) {
    await endSessions(
      tx,
      expired.map(({ id }) => id),
    );
  }
  const rested = await db.all<AccountRow>(
    `SELECT * FROM accounts /* INDEXED BY accounts_resting */ WHERE state_until IS NOT NULL AND state_until <= $1
     ORDER BY state_until LIMIT ${atOnce} FOR NO KEY UPDATE SKIP LOCKED`,
    now,
  );
  const lapsed = await db.all<AccountRow>(
    `SELECT * FROM accounts /* INDEXED BY accounts_lapsing */
     WHERE state = 'active' AND bearer_expires_at IS NOT NULL AND bearer_expires_at <= $1::bigint + ${lendMarginMs}
     ORDER BY bearer_expires_at LIMIT ${atOnce} FOR NO KEY UPDATE SKIP LOCKED`,
    now,
  );
  for (const row of [...rested, ...lapsed]) await saveStanding(tx, row, standingFrom(row));
  return expired.length + rested.length + lapsed.length;
}
