import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Basics } from '../base/basics.ts';
import type { Store } from '../store/store.ts';
import { openSealedFact, sealedFactPrefix, sealFact } from '../vault/vault.ts';

/** One key at a vendor, from before it is asked for until it is deleted there: nothing in between can lose it. */
const issuedKey = z.object({
  /** What it is called at the vendor. */
  name: z.string(),
  /** When it last changed. */
  at: z.number(),
  /** What the vendor deletes it by; null as long as it is not known to have been made. */
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

const journalPrefix = `${sealedFactPrefix}issued:`;

/** Sources that have made keys, with how many there are: also sources that are not configured any more. */
export async function keysBySource(store: Store): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const { name } of await store.rememberedUnder(journalPrefix)) {
    const source = name.slice(journalPrefix.length).split(':', 1)[0] ?? '';
    counts.set(source, (counts.get(source) ?? 0) + 1);
  }
  return counts;
}

export class KeyJournal {
  readonly #basics: Pick<Basics, 'store' | 'vault' | 'clock'>;
  readonly #prefix: string;

  constructor(source: string, basics: Pick<Basics, 'store' | 'vault' | 'clock'>) {
    this.#basics = basics;
    this.#prefix = `${journalPrefix}${source}:`;
  }

  async begin(name: string): Promise<JournalEntry> {
    const { store, vault, clock } = this.#basics;
    const fact = `${this.#prefix}${randomUUID()}`;
    const now = clock.now();
    const key = { name, at: now, handle: null, key: null, accountId: null, failures: 0, retryAt: now };
    const text = sealFact(vault, fact, key);
    await store.remember(fact, text);
    return { fact, text, key };
  }

  /** Null when another instance has changed it since. */
  async write({ fact, text, key }: JournalEntry, change: Partial<IssuedKey>): Promise<JournalEntry | null> {
    const { store, vault, clock } = this.#basics;
    const changed = { ...key, ...change, at: clock.now() };
    const sealed = sealFact(vault, fact, changed);
    return (await store.swapRemembered(fact, text, sealed)) ? { fact, text: sealed, key: changed } : null;
  }

  async forget({ fact, text }: JournalEntry): Promise<void> {
    await this.#basics.store.swapRemembered(fact, text, null);
  }

  async all(): Promise<readonly JournalEntry[]> {
    const { store, vault } = this.#basics;
    const facts = await store.rememberedUnder(this.#prefix);
    return facts.map(({ name, value }) => ({
      fact: name,
      text: value,
      key: issuedKey.parse(openSealedFact(vault, name, value)),
    }));
  }
}
