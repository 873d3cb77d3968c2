import type { Limit } from '../../lib/tasks.ts';
import { exportRequest, type ImportAnswer, importRequest } from '../../pool-api/account-schema.ts';
import { PoolError } from '../../pool-api/errors.ts';
import {
  type ImportedAccount,
  type ImportLine,
  openExport,
  parseImport,
  sealExport,
} from '../../pool-api/import-format.ts';
import { saidIn } from '../../pool-api/readiness.ts';
import { type Basics, type Caller, pagesOfAccounts } from '../base/basics.ts';
import { definedOnly, parse, settingsOf } from '../base/present.ts';
import { isOutOfService } from '../standing/standing.ts';
import type { AccountFilter, StoredAccount } from '../store/store.ts';
import { type AddedAccount, type Adding, credentialIn, type GivenCredential } from './adding.ts';

/** What became of one account that a source offered. */
export type Admission =
  | { readonly result: 'added'; readonly id: string }
  /** The pool has this credential already. */
  | { readonly result: 'duplicate'; readonly id: string }
  /** The provider does not take the credential; the account is kept, out of service. */
  | { readonly result: 'rejected'; readonly id: string; readonly reason: string }
  /** It cannot be an account at all, or could not be tried now; nothing was kept. */
  | { readonly result: 'failed'; readonly reason: string }
  /** No more accounts are wanted: nothing was done. */
  | { readonly result: 'no_room' };

type Imported = Exclude<Admission, { result: 'no_room' }>;

/** Brings an account into the pool: probed, sealed, stored. Throws only when the pool itself is at fault. */
export async function importAccount(
  { basics, adding }: { readonly basics: Basics; readonly adding: Adding },
  added: AddedAccount,
  credential: GivenCredential,
  actor: string,
  isStandby = false,
): Promise<Imported> {
  try {
    return admissionOf(await adding.insert(added, credential, actor, { isStandby }));
  } catch (error) {
    if (!(error instanceof PoolError)) throw error;
    if (error.code === 'account_exists') {
      const present = await adding.holderOf(added.provider, adding.check(added.provider, credential));
      return { result: 'duplicate', id: present?.id ?? '' };
    }
    if (error.code !== 'invalid_request') throw error;
    return { result: 'failed', reason: basics.secrets.redact(error.message) };
  }
}

/** The same for an account of the import format. */
export function importGiven(
  tools: { readonly basics: Basics; readonly adding: Adding },
  account: ImportedAccount,
  source: string,
  actor: string,
  isStandby = account.standby ?? false,
): Promise<Imported> {
  const added = { provider: account.provider, source, settings: settingsOf(account) };
  return importAccount(tools, added, credentialIn(account), actor, isStandby);
}

/** How an account that has just been tried counts. */
export function admissionOf(account: StoredAccount): Imported {
  const { reason, evidence } = account.standing;
  if (!isOutOfService(account.standing)) return { result: 'added', id: account.id };
  const why = [reason ?? 'rejected', saidIn(evidence)].filter((part) => part !== undefined).join(': ');
  return { result: 'rejected', id: account.id, reason: `the provider does not take the credential (${why})` };
}

type Result = ImportAnswer['results'][number];

const mostLines = 10_000;
const pageSize = 500;

/**
 * Adds what the lines hold, each on its own: one that is bad does not keep the others out. `limit` bounds how many accounts
 * come in at a time. Throws PoolError.
 */
export async function importAccounts(
  basics: Basics,
  adding: Adding,
  limit: Limit,
  caller: Caller,
  request: unknown,
): Promise<ImportAnswer> {
  const { lines: given, sealed = '', passphrase = '' } = parse(importRequest, request);
  let text = given ?? '';
  if (given === undefined) for await (const part of openExport(sealed, passphrase)) text += part;
  const lines = parseImport(text);
  if (lines.length > mostLines) {
    const message = `An import may have ${mostLines} lines; send the others in another call.`;
    throw new PoolError('too_large', message);
  }
  const take = async (line: ImportLine): Promise<Result> => {
    if ('problem' in line) return { line: line.line, result: 'failed', id: null, reason: line.problem };
    const done = await limit(() => importGiven({ basics, adding }, line.account, 'import', caller.keyId));
    const id = 'id' in done ? done.id : null;
    return { line: line.line, result: done.result, id, reason: 'reason' in done ? done.reason : null };
  };
  const results = await Promise.all(lines.map(take));
  const count = (...kinds: Result['result'][]): number =>
    results.filter(({ result }) => kinds.includes(result)).length;
  const counts = {
    added: count('added'),
    duplicates: count('duplicate'),
    failed: count('rejected', 'failed'),
  };
  const audit = { actor: caller.keyId, action: 'accounts-imported', accountId: null, detail: counts };
  await basics.store.note(basics.clock.now(), audit);
  return { success: true, ...counts, results };
}

/** All accounts, or those a filter matches, with their credentials, sealed with a passphrase. Throws PoolError. */
export async function exportAccounts(
  basics: Basics,
  caller: Caller,
  request: unknown,
): Promise<AsyncIterable<string>> {
  const { store, clock } = basics;
  const { passphrase, filter = {} } = parse(exportRequest, request);
  const { status, ...fields } = filter;
  const chosen = definedOnly<AccountFilter>({ ...fields, state: status });
  // Before the first credential leaves.
  const audit = { actor: caller.keyId, action: 'accounts-exported', accountId: null, detail: { filter } };
  await store.note(clock.now(), audit);
  return sealExport(linesOf(basics, { ...chosen, limit: pageSize }), passphrase);
}

async function* linesOf(basics: Basics, filter: AccountFilter): AsyncGenerator<string> {
  for await (const page of pagesOfAccounts(basics, filter)) {
    if (page.length > 0) yield page.map((account) => lineOf(basics, account)).join('');
  }
}

/** An account as a line of the import format. What its owner had disabled comes into standby, so that it stays unused. */
function lineOf({ credentials }: Basics, account: StoredAccount): string {
  const { provider, email, label, models, capacity, free, lend, tier, teamUid } = account;
  const { state } = account.standing;
  const secret = credentials.secretOf(account);
  const line = {
    provider,
    ...(secret === '' ? {} : { [account.credentialKind]: secret }),
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
