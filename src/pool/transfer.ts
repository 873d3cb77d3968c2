import { PoolError } from '../pool-api/errors.ts';
import { type ImportLine, parseImport } from '../pool-api/import-format.ts';
import { exportRequest, type ImportAnswer, importRequest } from '../pool-api/schema.ts';
import { openExport, sealExport } from '../pool-api/sealed-export.ts';
import { settingsOf } from './account-settings.ts';
import { parse } from './parse.ts';
import { type Caller, type PoolContext, secretOf } from './pool-context.ts';
import { type Adopt, credentialOf } from './sources/adopt.ts';
import type { StoredAccount } from './store/store.ts';

/** Accounts that move in and out of the pool by the file. Every call throws PoolError. */
export interface Transfer {
  /** Adds what the lines hold, each on its own: one that is bad does not keep the others out. */
  importAccounts(caller: Caller, request: unknown): Promise<ImportAnswer>;
  /** All accounts, or those a filter matches, with their credentials, sealed with a passphrase. */
  exportAccounts(caller: Caller, request: unknown): Promise<AsyncIterable<string>>;
}

type Result = ImportAnswer['results'][number];

const mostLines = 10_000;
const pageSize = 500;

/** `limit` bounds how many accounts come in at a time. */
export function createTransfer(
  context: PoolContext,
  adopt: Adopt,
  limit: <T>(task: () => Promise<T>) => Promise<T>,
): Transfer {
  const { store, clock } = context;

  const take = async (line: ImportLine, caller: Caller): Promise<Result> => {
    if ('problem' in line) return { line: line.line, result: 'failed', id: null, reason: line.problem };
    const { account } = line;
    const added = { provider: account.provider, source: 'import', settings: settingsOf(account) };
    const isStandby = account.standby ?? false;
    const done = await limit(() => adopt(added, credentialOf(account), caller.keyId, { isStandby }));
    const id = 'id' in done ? done.id : null;
    return { line: line.line, result: done.result, id, reason: 'reason' in done ? done.reason : null };
  };

  const textOf = async (request: ReturnType<typeof importRequest.parse>): Promise<string> => {
    const { lines, sealed, passphrase = '' } = request;
    if (lines !== undefined) return lines;
    const parts: string[] = [];
    for await (const part of openExport(sealed ?? '', passphrase)) parts.push(part);
    return parts.join('');
  };

  return {
    async importAccounts(caller, request) {
      const lines = parseImport(await textOf(parse(importRequest, request)));
      if (lines.length > mostLines) {
        throw new PoolError(
          'too_large',
          `An import may have ${mostLines} lines; send the others in another call.`,
        );
      }
      const results = await Promise.all(lines.map((line) => take(line, caller)));
      const count = (...kinds: Result['result'][]): number =>
        results.filter(({ result }) => kinds.includes(result)).length;
      const counts = {
        added: count('added'),
        duplicates: count('duplicate'),
        failed: count('rejected', 'failed'),
      };
      await store.note(clock.now(), {
        actor: caller.keyId,
        action: 'accounts-imported',
        accountId: null,
        detail: counts,
      });
      return { success: true, ...counts, results };
    },

    async exportAccounts(caller, request) {
      const { passphrase, filter = {} } = parse(exportRequest, request);
      const { status, ...fields } = filter;
      const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
      const chosen = { ...given, ...(status === undefined ? {} : { state: status }) };
      // Before the first credential leaves.
      await store.note(clock.now(), {
        actor: caller.keyId,
        action: 'accounts-exported',
        accountId: null,
        detail: { filter },
      });
      const pages = async function* (): AsyncGenerator<string> {
        let after: number | null = 0;
        while (after !== null) {
          const page: Awaited<ReturnType<typeof store.accounts>> = await store.accounts(clock.now(), {
            ...chosen,
            limit: pageSize,
            after,
          });
          if (page.accounts.length > 0)
            yield page.accounts.map((account) => lineOf(context, account)).join('');
          after = page.nextAfter;
        }
      };
      return sealExport(pages(), passphrase);
    },
  };
}

/** An account as a line of the import format. What its owner had disabled comes into standby, so that it stays unused. */
function lineOf(context: PoolContext, account: StoredAccount): string {
  const { provider, email, label, models, capacity, free, lend, tier, teamUid } = account;
  const { state } = account.standing;
  const line = {
    provider,
    [account.credentialKind]: secretOf(context, account),
    ...(email === null ? {} : { email }),
    ...(label === null ? {} : { label }),
    ...(models === null ? {} : { models }),
    capacity,
    free,
    lend,
    tier,
    ...(teamUid === null ? {} : { team_uid: teamUid }),
    ...(state === 'standby' || state === 'disabled' ? { standby: true } : {}),
  };
  return `${JSON.stringify(line)}\n`;
}
