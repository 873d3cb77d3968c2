import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { inject } from 'vitest';
import { openPostgres } from '../postgres.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Answers each connection with the URL of the maintenance database of the server that all test files share. */
    postgresSocket: string;
  }
}

/** A database of its own on the server that all test files share: empty, or a copy. Answers its URL. */
export async function newDatabase(template = 'template1'): Promise<string> {
  const url = await text(connect(inject('postgresSocket')));
  if (!url.startsWith('postgres:')) throw new Error(url);
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const maintenance = await openPostgres(url);
  await maintenance.writing.script(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  await maintenance.close();
  return url.replace('/postgres?', `/${name}?`);
}
