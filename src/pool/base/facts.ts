import type { z } from 'zod';
import type { Store } from '../store/store.ts';
import { openSealedFact, sealFact, type Vault } from '../vault/vault.ts';

/** A fact of the store with the text it was read from, by which a change of another instance is noticed. */
export interface Fact<T> {
  readonly name: string;
  readonly text: string;
  readonly value: T;
}

/**
 * Facts whose names begin alike: they outlive a restart, and every instance sees them. With a vault they are readable by that
 * only, and reading throws VaultError where the text was altered or sealed with another key. Without one, what this version
 * cannot read is passed over.
 */
export class Facts<T> {
  readonly #store: Pick<Store, 'remember' | 'remembered' | 'rememberedUnder' | 'swapRemembered'>;
  readonly #prefix: string;
  readonly #schema: z.ZodType<T>;
  readonly #vault: Vault | undefined;

  constructor(store: Store, prefix: string, schema: z.ZodType<T>, vault?: Vault) {
    this.#store = store;
    this.#prefix = prefix;
    this.#schema = schema;
    this.#vault = vault;
  }

  async add(id: string, value: T): Promise<Fact<T>> {
    const name = this.#prefix + id;
    const text = this.#write(name, value);
    await this.#store.remember(name, text);
    return { name, text, value };
  }

  async find(id: string): Promise<Fact<T> | null> {
    const name = this.#prefix + id;
    const text = await this.#store.remembered(name);
    return text === null ? null : this.#read(name, text);
  }

  async all(): Promise<readonly Fact<T>[]> {
    const facts = await this.#store.rememberedUnder(this.#prefix);
    return facts.flatMap(({ name, value }) => this.#read(name, value) ?? []);
  }

  /** Null when another instance has changed it since. */
  async replace({ name, text: before }: Fact<T>, value: T): Promise<Fact<T> | null> {
    const text = this.#write(name, value);
    return (await this.#store.swapRemembered(name, before, text)) ? { name, text, value } : null;
  }

  async forget({ name, text }: Fact<T>): Promise<void> {
    await this.#store.swapRemembered(name, text, null);
  }

  #write(name: string, value: T): string {
    return this.#vault === undefined ? JSON.stringify(value) : sealFact(this.#vault, name, value);
  }

  #read(name: string, text: string): Fact<T> | null {
    const value =
      this.#vault === undefined
        ? this.#schema.safeParse(JSON.parse(text)).data
        : this.#schema.parse(openSealedFact(this.#vault, name, text));
    return value === undefined ? null : { name, text, value };
  }
}

const mostTries = 1000;

/**
 * Changes a small fact that others change too: reads it, lets `change` decide, and writes only if it still is what was
 * read; otherwise once more from the start. `change` may ask the store; null forgets the fact, undefined leaves it.
 */
export async function compareAndSet<Answer>(
  store: Pick<Store, 'remembered' | 'swapRemembered'>,
  name: string,
  change: (present: string | null) => Promise<{ readonly value?: string | null; readonly answer: Answer }>,
): Promise<Answer> {
  for (let tries = 0; tries < mostTries; tries += 1) {
    const present = await store.remembered(name);
    const { value, answer } = await change(present);
    if (value === undefined || value === present) return answer;
    if (await store.swapRemembered(name, present, value)) return answer;
  }
  throw new Error(`the fact ${name} changes faster than it can be written`);
}
