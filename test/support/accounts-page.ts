import type { Page } from 'playwright-core';
import type { TestServices } from './services.ts';

/** The page of accounts, as its tests look at it. */

export const path = '#/accounts';
export const withLogins = { WARP_FIREBASE_API_KEY: 'K', WARP_OAUTH_CLIENT_ID: 'client' };

export const row = (page: Page, name: string) => page.getByRole('row').filter({ hasText: name });
/** The one on top. */
export const dialog = (page: Page) => page.getByRole('dialog').last();

/** What the pool has. */
export async function stored(services: TestServices, query = '') {
  const answer = await services.pool(`/api/accounts?limit=1000${query}`);
  return answer as unknown as { total: number; accounts: Record<string, unknown>[] };
}
