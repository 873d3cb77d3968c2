import type { Queries } from '../../../db/database.ts';

/** What the pool remembers by name: small texts in the table `meta`. */
export interface Remembered {
  readonly name: string;
  readonly value: string;
}

export async function remembered(db: Queries, name: string): Promise<string | null> {
  return (await db.get<Remembered>('SELECT name, value FROM meta WHERE name = $1', name))?.value ?? null;
}

export function rememberedUnder(db: Queries, prefix: string): Promise<Remembered[]> {
  return db.all<Remembered>(
    `SELECT name, value FROM meta WHERE name >= $1 AND name < $1 || '\u{10ffff}' ORDER BY name`,
    prefix,
  );
}

export async function remember(db: Queries, name: string, value: string): Promise<void> {
  await db.run(
    'INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value',
    name,
    value,
  );
}

/** Compares and sets, in one statement for each of the four cases. */
export async function swapRemembered(
  db: Queries,
  name: string,
  expected: string | null,
  value: string | null,
): Promise<boolean> {
  if (expected === null && value === null) return (await remembered(db, name)) === null;
  let changed: number;
  if (expected === null) {
    const insert = 'INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING';
    changed = await db.run(insert, name, value);
  } else if (value === null) {
    changed = await db.run('DELETE FROM meta WHERE name = $1 AND value = $2', name, expected);
  } else {
    changed = await db.run(
      'UPDATE meta SET value = $3 WHERE name = $1 AND value = $2',
      name,
      expected,
      value,
    );
  }
  return changed === 1;
}
