import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { PoolContext } from '../pool-context.ts';
import { openSealedFact, sealedFactPrefix, sealFact } from '../sealed-facts.ts';

/** One key at a vendor, from before it is asked for until it is deleted there: nothing in between can lose it. */
const issuedKey = z.object({
  /** What it is called at the vendor. */
  name: z.string(),
  /** When it last changed. */
  at: z.number(),
  /** What the vendor deletes it by; null as long as nobody has heard that it was made. */
  handle: z.string().nullable(),
  /** The key itself, until an account holds it. */
  key: z.string().nullable(),
  accountId: z.string().nullable(),
  /** Attempts in a row to delete it that failed, and when the next is due. */
  failures: z.int(),
  retryAt: z.number(),
});
export type IssuedKey = z.infer<typeof issuedKey>;

/** A key with the fact it is kept in. */
export interface JournalEntry {
  readonly fact: string;
  readonly text: string;
  readonly key: IssuedKey;
}

export interface KeyJournal {
  begin(name: string): Promise<JournalEntry>;
  /** Null when another instance has changed it since. */
  write(entry: JournalEntry, change: Partial<IssuedKey>): Promise<JournalEntry | null>;
  forget(entry: JournalEntry): Promise<void>;
  all(): Promise<readonly JournalEntry[]>;
}

const journalPrefix = `${sealedFactPrefix}issued:`;

/** Sources that have made keys, with how many there are: also sources that are not configured any more. */
export async function keysBySource(store: PoolContext['store']): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const { name } of await store.rememberedUnder(journalPrefix)) {
    const source = name.slice(journalPrefix.length).split(':', 1)[0] ?? '';
    counts.set(source, (counts.get(source) ?? 0) + 1);
  }
  return counts;
}

export function createKeyJournal(source: string, context: PoolContext): KeyJournal {
  const { store, vault, clock } = context;
  const prefix = `${journalPrefix}${source}:`;
  return {
    async begin(name) {
      const fact = `${prefix}${randomUUID()}`;
      const now = clock.now();
      const key = { name, at: now, handle: null, key: null, accountId: null, failures: 0, retryAt: now };
      const text = sealFact(vault, fact, key);
      await store.remember(fact, text);
      return { fact, text, key };
    },
    async write({ fact, text, key }, change) {
      const changed = { ...key, ...change, at: clock.now() };
      const sealed = sealFact(vault, fact, changed);
      return (await store.swapRemembered(fact, text, sealed)) ? { fact, text: sealed, key: changed } : null;
    },
    async forget({ fact, text }) {
      await store.swapRemembered(fact, text, null);
    },
    async all() {
      const facts = await store.rememberedUnder(prefix);
      return facts.map(({ name, value }) => ({
        fact: name,
        text: value,
        key: issuedKey.parse(openSealedFact(vault, name, value)),
      }));
    },
  };
}
