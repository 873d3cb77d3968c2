import type { SQLInputValue } from 'node:sqlite';
import type { Database, Queries, Value } from './database.ts';
import type { Sqlite } from './sqlite.ts';

/**
 * An SQLite database behind the interface that PostgreSQL has, too. Each statement is done when its call returns; only
 * transactions take turns.
 */
export class SqliteDatabase implements Database {
  readonly isShared = false;
  readonly reading: Queries;
  readonly writing: Queries;
  readonly #sqlite: Sqlite;
  readonly #inTransaction: Queries;
  /** The transaction that runs. */
  #running: Promise<void> | undefined;

  constructor(sqlite: Sqlite) {
    this.#sqlite = sqlite;
    const queries = (when: <T>(task: () => T) => Promise<T>): Queries => ({
      all: <Row>(sql: string, ...values: Value[]) =>
        when(() => sqlite.all<Row>(inSqlite(sql, values), ...(values as SQLInputValue[]))),
      get: <Row>(sql: string, ...values: Value[]) =>
        when(() => sqlite.get<Row>(inSqlite(sql, values), ...(values as SQLInputValue[]))),
      run: (sql, ...values) => when(() => sqlite.run(inSqlite(sql, values), ...(values as SQLInputValue[]))),
    });
    this.#inTransaction = queries(async (task) => task());
    this.writing = queries((task) => this.#between(task));
    this.reading = this.writing;
  }

  async transaction<T>(
    task: (queries: Queries) => Promise<T>,
    options?: { readonly durable?: boolean },
  ): Promise<T> {
    while (this.#running !== undefined) await this.#running;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running = promise;
    try {
      const open = this.#sqlite.begin(options);
      try {
        const answer = await task(this.#inTransaction);
        open.commit();
        return answer;
      } catch (error) {
        throw open.rollBack(error);
      }
    } finally {
      this.#running = undefined;
      resolve();
    }
  }

  close(): Promise<void> {
    return this.#between(() => this.#sqlite.close());
  }

  /** Does `task` while no transaction runs. Others that wait may be first, so it looks again. */
  async #between<T>(task: () => T): Promise<T> {
    while (this.#running !== undefined) await this.#running;
    return task();
  }
}

type Translation = readonly (readonly [RegExp, string | ((...match: string[]) => string)])[];

/** Reading a list out of JSON takes as long as a small statement: one of at most one item is bound as that, or as NULL. */
const shortLists: Translation = [
  [/= ANY \((\$\d+)\)/g, '= $1'],
  [/<> ALL \((\$\d+)\)/g, 'IS NOT $1'],
  [/\bunnest\((\$\d+)\) AS (\w+)/g, '(SELECT $1 AS $2 WHERE $1 IS NOT NULL)'],
];
const longLists: Translation = [
  [/= ANY \((\$\d+)\)/g, 'IN (SELECT value FROM json_each($1))'],
  [/<> ALL \((\$\d+)\)/g, 'NOT IN (SELECT value FROM json_each($1))'],
  [/\bunnest\((\$\d+)\) AS (\w+)/g, '(SELECT value AS $2 FROM json_each($1))'],
];

const common: Translation = [
  // A transaction is alone: no row needs a lock.
  [/\s+FOR (?:NO KEY )?UPDATE(?: OF \w+)?(?: SKIP LOCKED)?/g, ''],
  [/::[a-z]\w*(?:\[\])?/g, ''],
  // SQLite has to be told which of several partial indexes to take.
  [/\/\* (INDEXED BY \w+) \*\//g, '$1'],
  [
    /\bjson_to_recordset\((\$\d+)\) AS (\w+) \(([^)]*)\)/g,
    (_all, list = '', name = '', columns = '') => {
      const names = columns.split(',').map((column) => column.trim().split(' ')[0]);
      return `(SELECT ${names.map((one) => `value ->> '${one}' AS ${one}`).join(', ')} FROM json_each(${list})) AS ${name}`;
    },
  ],
  [/\bjsonb_exists\(([\w$]+), ([\w$]+)\)/g, 'EXISTS (SELECT 1 FROM json_each($1) WHERE value = $2)'],
  [/\bLEAST\(/g, 'min('],
  [/\bGREATEST\(/g, 'max('],
  [/\blower\((\w+)\) COLLATE "C"/g, '$1 COLLATE NOCASE'],
  [/\blower\((\$\d+)\)/g, '$1'],
];
/** Last, since the others look for it. Those that stand in order need no number, which SQLite looks up for each value. */
function withPlaces(text: string): string {
  const numbers = text.match(/(?<=\$)\d+/g) ?? [];
  const areInOrder = numbers.every((number, at) => Number(number) === at + 1);
  return text.replaceAll(/\$(\d+)/g, areInOrder ? '?' : '?$1');
}

const withShortLists = new Map<string, string>();
const withLongLists = new Map<string, string>();

/**
 * A statement as SQLite writes it, and in place of `values` what SQLite takes. Only what the statements of this program
 * use; LEAST and GREATEST not of NULL.
 */
function inSqlite(sql: string, values: Value[]): string {
  const isLong = values.some((value) => isList(value) && value.length > 1);
  for (let at = 0; at < values.length; at += 1) {
    const value = values[at];
    if (typeof value === 'boolean') values[at] = value ? 1 : 0;
    else if (isList(value)) values[at] = isLong ? JSON.stringify(value) : (value[0] ?? null);
  }
  const translated = isLong ? withLongLists : withShortLists;
  let text = translated.get(sql);
  if (text === undefined) {
    const translations = [...common, ...(isLong ? longLists : shortLists)];
    text = withPlaces(
      translations.reduce(
        (statement, [pattern, words]) => statement.replaceAll(pattern, words as string),
        sql,
      ),
    );
    translated.set(sql, text);
  }
  return text;
}

/** `typeof` first, since it is the cheaper look: a batch binds many thousands of numbers. */
function isList(value: Value | undefined): value is Extract<Value, readonly unknown[]> {
  return typeof value === 'object' && Array.isArray(value);
}
