declare module 'vitest' {
  interface ProvidedContext {
    /** The maintenance database of the tests' PostgreSQL server. */
    postgresUrl: string;
  }
}

/** A migrated database of the tests' server, to be copied. */
export const templateDatabase = 'pool_template';
