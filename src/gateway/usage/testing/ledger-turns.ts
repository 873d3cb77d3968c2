import type { Database } from '../../../db/database.ts';
import { type LedgerTurn, rowOf } from '../ledger-turn.ts';
import type { Batch } from '../note-turns.ts';
import { type UsageVerbs, usageVerbs } from '../usage-verbs.ts';

/** What is asked of a ledger; turns are noted by names. */
export function openUsage(db: Database) {
  const verbs = usageVerbs(db) as UsageVerbs;
  const noteTurns = (batch: Omit<Batch, 'turns'> & { readonly turns: readonly LedgerTurn[] }) =>
    verbs.noteTurns({ ...batch, turns: batch.turns.map(rowOf) });
  return { ...verbs, noteTurns };
}

/** A turn of the ledger for tests. */
export function ledgerTurn(change: Partial<LedgerTurn> = {}): LedgerTurn {
  return {
    at: Date.UTC(2026, 10, 26, 12, 30),
    requestId: 'req-1',
    keyId: 'key_1',
    keyName: 'team one',
    model: 'gpt-5',
    answeredModel: 'gpt-5-2026',
    provider: 'openai',
    accountId: 'acc_1',
    dialect: 'chat',
    outcome: 'success',
    isStream: true,
    status: 200,
    attempts: 1,
    inputTokens: 100,
    outputTokens: 10,
    cachedTokens: 50,
    cacheWriteTokens: null,
    reasoningTokens: null,
    costNanos: 1_234,
    creditMicros: null,
    isEstimated: false,
    firstContentMs: 700,
    durationMs: 2_000,
    ...change,
  };
}
