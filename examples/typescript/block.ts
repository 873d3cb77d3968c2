/**
 * Runs many turns over a few accounts: at most four, eight turns at a time on each.
 *
 *   node examples/typescript/block.ts
 */
import { AccountPoolClient } from 'warp2api/pool-client';

const { POOL_SERVICE_URL: baseUrl = 'http://localhost:8019', POOL_API_KEY: apiKey } = process.env;
const turns = 100;

await using pool = new AccountPoolClient({ baseUrl, apiKey });
await using block = pool.block({ count: 4, slots: 8, waitMs: 30_000 });
const used = new Map<string, number>();

async function turn(): Promise<void> {
  using lease = await block.take();
  // Call the provider with `Bearer ${lease.token}` here.
  await new Promise((resolve) => setTimeout(resolve, 20));
  used.set(lease.account.id, (used.get(lease.account.id) ?? 0) + 1);
  lease.report('success', { usage: { turns: 1 } });
}

await Promise.all(Array.from({ length: turns }, turn));
for (const [id, count] of used) console.log(`${id}: ${count} turns`);
