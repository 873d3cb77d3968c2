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
    this.#inTransaction = {
      all: async <Row>(sql: string, ...values: Value[]) =>
        sqlite.all<Row>(inSqlite(sql), ...values.map(asSqlite)),
      get: async <Row>(sql: string, ...values: Value[]) =>
        sqlite.get<Row>(inSqlite(sql), ...values.map(asSqlite)),
      run: async (sql, ...values) => sqlite.run(inSqlite(sql), ...values.map(asSqlite)),
    };
    const { all, get, run } = this.#inTransaction;
    this.writing = {
      all: <Row>(sql: string, ...values: Value[]) => this.#between(() => all<Row>(sql, ...values)),
      get: <Row>(sql: string, ...values: Value[]) => this.#between(() => get<Row>(sql, ...values)),
      run: (sql, ...values) => this.#between(() => run(sql, ...values)),
    };
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
    return this.#between(async () => this.#sqlite.close());
  }

  /** Does `task` while no transaction runs. Others that wait may be first, so it looks again. */
  async #between<T>(task: () => Promise<T>): Promise<T> {
    while (this.#running !== undefined) await this.#running;
    return task();
  }
}

const translations: readonly (readonly [RegExp, string | ((...match: string[]) => string)])[] = [
  // A transaction is alone: no row needs a lock.
  [/\s+FOR (?:NO KEY )?UPDATE(?: OF \w+)?(?: SKIP LOCKED)?/g, ''],
  [/::[a-z]\w*(?:\[\])?/g, ''],
  // SQLite has to be told which of several partial indexes to take.
  [/\/\* (INDEXED BY \w+) \*\//g, '$1'],
  [/= ANY \((\$\d+)\)/g, 'IN (SELECT value FROM json_each($1))'],
  [/<> ALL \((\$\d+)\)/g, 'NOT IN (SELECT value FROM json_each($1))'],
  [/\bunnest\((\$\d+)\) AS (\w+)/g, '(SELECT value AS $2 FROM json_each($1))'],
  [
    /\bjson_to_recordset\((\$\d+)\) AS (\w+) \(([^)]*)\)/g,
    (_all, list = '', name = '', columns = '') => {
      const names = columns.split(',').map((column) => column.trim().split(' ')[0]);
      return `(SELECT ${names.map((one) => `value ->> '${one}' AS ${one}`).join(', ')} FROM json_each(${list})) AS ${name}`;
    },
  ],
  [/\bjsonb_exists\((\w+), (\$\d+)\)/g, 'EXISTS (SELECT 1 FROM json_each($1) WHERE value = $2)'],
  [/\bLEAST\(/g, 'min('],
  [/\bGREATEST\(/g, 'max('],
  [/\blower\((\w+)\) COLLATE "C"/g, '$1 COLLATE NOCASE'],
  [/\blower\((\$\d+)\)/g, '$1'],
  // Last, since the others look for it.
  [/\$(\d+)/g, '?$1'],
];

const translated = new Map<string, string>();

/** A statement as SQLite writes it. Only what the statements of this program use; LEAST and GREATEST not of NULL. */
function inSqlite(sql: string): string {
  let text = translated.get(sql);
  if (text === undefined) {
    text = translations.reduce(
      (statement, [pattern, words]) => statement.replaceAll(pattern, words as string),
      sql,
    );
    translated.set(sql, text);
  }
  return text;
}

function asSqlite(value: Value): SQLInputValue {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return Array.isArray(value) ? JSON.stringify(value) : (value as SQLInputValue);
}
