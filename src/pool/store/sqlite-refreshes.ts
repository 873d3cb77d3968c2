import type { Work } from './sqlite-work.ts';
import type { RefreshClaimResult, RefreshDemand, StoredAccount, StoreVerbs } from './store.ts';

type Changed = Awaited<ReturnType<StoreVerbs['commitRefresh']>>;

export function claimRefresh(_work: Work, _demand: RefreshDemand): RefreshClaimResult {
  throw new Error('not built');
}
export function commitRefresh(_work: Work, _id: string, _refreshed: unknown): Changed {
  throw new Error('not built');
}
export function failRefresh(_work: Work, _id: string, _failed: unknown): Changed {
  throw new Error('not built');
}
export function findInterruptedRefreshes(
  _work: Work,
  _instance: string,
  _underWay: readonly string[],
): Awaited<ReturnType<StoreVerbs['findInterruptedRefreshes']>> {
  return [];
}
export function dueForRefresh(_work: Work, _limit: number): StoredAccount[] {
  return [];
}
export function nextRefreshDue(_work: Work): number | null {
  return null;
}
export function scheduleRefresh(_work: Work, _id: string, _at: number, _onlyEarlier: boolean): void {}
