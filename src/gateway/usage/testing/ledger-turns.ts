import type { LedgerTurn } from '../ledger-turn.ts';

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
