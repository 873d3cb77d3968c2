import type { z } from 'zod';
import type { Store } from '../store/store.ts';
import { openSealedFact, sealFact, type Vault } from '../vault/vault.ts';

/** A fact of the store with the text it was read from, by which a change of another instance is noticed. */
export interface Fact<T> {
  readonly name: string;
  readonly text: string;
  readonly value: T;
}

/** How facts are written; `read` answers null for what this version cannot read. */
export interface FactForm<T> {
  write(name: string, value: T): string;
  read(name: string, text: string): T | null;
}

/** Facts whose names begin alike: they outlive a restart, and every instance sees them. */
export class Facts<T> {
  readonly #store: Pick<Store, 'remember' | 'remembered' | 'rememberedUnder' | 'swapRemembered'>;
  readonly #prefix: string;
  readonly #form: FactForm<T>;

  constructor(store: Store, prefix: string, form: FactForm<T>) {
    this.#store = store;
    this.#prefix = prefix;
    this.#form = form;
  }

  async add(id: string, value: T): Promise<Fact<T>> {
    const name = this.#prefix + id;
    const text = this.#form.write(name, value);
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
    const text = this.#form.write(name, value);
    return (await this.#store.swapRemembered(name, before, text)) ? { name, text, value } : null;
  }

  async forget({ name, text }: Fact<T>): Promise<void> {
    await this.#store.swapRemembered(name, text, null);
  }

  #read(name: string, text: string): Fact<T> | null {
    const value = this.#form.read(name, text);
    return value === null ? null : { name, text, value };
  }
}

export function plainForm<T>(schema: z.ZodType<T>): FactForm<T> {
  return {
    write: (_name, value) => JSON.stringify(value),
    read: (_name, text) => schema.safeParse(JSON.parse(text)).data ?? null,
  };
}

/** Readable by the vault only. `read` throws VaultError when the text was altered or sealed with another key. */
export function sealedForm<T>(vault: Vault, schema: z.ZodType<T>): FactForm<T> {
  return {
    write: (name, value) => sealFact(vault, name, value),
    read: (name, text) => schema.parse(openSealedFact(vault, name, text)),
  };
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
