import type { Command } from 'commander';
import type { RefreshTokensAnswer, Session } from '../pool-api/owner-schema.ts';
import type { PoolAdmin } from '../pool-api/pool.ts';
import { accountNames, shortId } from './account/account-names.ts';
import { accountWords, findAccount } from './account/find-account.ts';
import type { CliActions } from './actions.ts';
import { answerFromPool, collectPages, type Shown } from './answers.ts';
import { wholeNumber } from './option-values.ts';
import { cutTo, type FittingColumn, formatToFit, fromNow } from './table.ts';

export function addPool(program: Command, actions: CliActions): void {
  const pool = program
    .command('pool')
    .description('refill and refresh the pool, and see who holds what')
    .helpCommand(false);
  addReplenish(pool, actions);
  addRefresh(pool, actions);
  addSessions(pool, actions);
  addRelease(pool, actions);
}

function addReplenish(parent: Command, actions: CliActions): void {
  const command = parent
    .command('replenish')
    .description('bring in accounts from the sources of warp2api.yaml and from those in standby, now')
    .option('--count <n>', 'so many (default: as many as are missing)', wholeNumber(1, 10_000))
    .option('--json', 'print what POST /api/accounts/replenish answers')
    .addHelpText(
      'after',
      `
Never beyond MAX_POOL_SIZE. "warp2api status" shows the sources.

Examples:
  warp2api pool replenish
  warp2api pool replenish --count 2 --json`,
    );
  answerFromPool(command, actions, async (admin, { count }: { count?: number }) => {
    const answer = await admin.replenish(count === undefined ? {} : { count });
    const reasons = answer.reasons.map((reason) => `  ${reason}\n`).join('');
    const failure = answer.failed > 0 && `Accounts that could not be brought in: ${answer.failed}.`;
    return [answer, `${answer.message}\n${reasons}`, failure];
  });
}

function addRefresh(parent: Command, actions: CliActions): void {
  const command = parent
    .command('refresh')
    .description(
      'give accounts with refresh tokens new access tokens now; the pool does so automatically in time',
    )
    .argument('[account]', `only this one: ${accountWords}`)
    .option('--force', 'although less than the least time between two refreshes has passed; audited')
    .option('--json', 'print what POST /api/accounts/refresh-tokens answers')
    .addHelpText(
      'after',
      `
An account is refreshed at most once in REFRESH_MIN_INTERVAL_MINUTES; what is skipped says why and until when.

Examples:
  warp2api pool refresh
  warp2api pool refresh me@example.com --force`,
    );
  const refresh = async (
    admin: PoolAdmin,
    name: string | undefined,
    { force = false }: { force?: boolean },
  ): Promise<Shown> => {
    const account = name === undefined ? {} : { id: (await findAccount(admin, name)).id };
    const answer = await admin.refreshTokens({ ...account, force });
    const failure = answer.failed > 0 && `Accounts that could not be refreshed: ${answer.failed}.`;
    return [answer, describeRefresh(answer, actions.terminalWidth), failure];
  };
  answerFromPool(command, actions, refresh);
}

function describeRefresh(
  { results, refreshed, skipped, failed }: RefreshTokensAnswer,
  width: number | undefined,
): string {
  const columns: FittingColumn<RefreshTokensAnswer['results'][number]>[] = [
    { heading: 'id', cell: ({ id }) => id, brief: ({ id }) => shortId(id) },
    { heading: 'email', cell: ({ email }) => email, brief: ({ email }) => email && cutTo(email, 20) },
    { heading: 'result', cell: ({ result }) => result },
    { heading: 'next', cell: ({ next_at }) => next_at, brief: ({ next_at }) => fromNow(next_at) },
    { heading: 'reason', cell: ({ reason }) => reason },
  ];
  const table = formatToFit(results, columns, width);
  return `${table}${refreshed} refreshed, ${skipped} skipped, ${failed} failed.\n`;
}

const mostNamed = 3;

function addSessions(parent: Command, actions: CliActions): void {
  const command = parent
    .command('sessions')
    .description('show who holds which accounts, and until when')
    .option('--account <account>', `only those that hold this one: ${accountWords}`)
    .option('--limit <n>', 'at most this many', wholeNumber(1, 1_000_000), 1000)
    .option('--json', 'print {"sessions": [...], "total": n}')
    .addHelpText(
      'after',
      '\nExamples:\n  warp2api pool sessions\n  warp2api pool sessions --account work --json',
    );
  type Options = { account?: string; limit: number; json?: true };
  answerFromPool(command, actions, async (admin, { account, limit, json }: Options) => {
    const filter = account === undefined ? {} : { account_id: (await findAccount(admin, account)).id };
    let total = 0;
    const sessions = await collectPages(limit, async (pageLimit, after: string | undefined) => {
      const page = await admin.listSessions({ ...filter, limit: pageLimit, after });
      total = page.total;
      return [page.sessions, page.next_after];
    });
    if (json) return [{ sessions, total }, ''];
    const ids = sessions.flatMap(({ accounts }) => accounts.slice(0, mostNamed).map(({ id }) => id));
    const nameOf = await accountNames((query) => admin.listAccounts(query), ids);
    return [{ sessions, total }, describeSessions(sessions, total, nameOf, actions.terminalWidth)];
  });
}

function describeSessions(
  sessions: readonly Session[],
  total: number,
  nameOf: (accountId: string) => string,
  width: number | undefined,
): string {
  if (sessions.length === 0) return 'No session holds an account.\n';
  const rest = total > sessions.length ? `\n${sessions.length} of ${total} shown; --limit shows more.\n` : '';
  const keyOf = ({ key_id, gateway }: Session) =>
    gateway && key_id !== 'gateway' ? `${key_id} (gateway)` : key_id;
  const columns: FittingColumn<Session>[] = [
    { heading: 'id', cell: ({ id }) => id },
    { heading: 'key', cell: keyOf, leftOut: 2 },
    { heading: 'exclusive', cell: ({ exclusive }) => exclusive, leftOut: 1 },
    { heading: 'created', cell: ({ created_at }) => created_at, leftOut: 0 },
    {
      heading: 'expires',
      cell: ({ expires_at }) => expires_at,
      brief: ({ expires_at }) => fromNow(expires_at),
    },
    { heading: 'accounts', cell: ({ accounts }) => named(accounts, nameOf) },
  ];
  return formatToFit(sessions, columns, width) + rest;
}

function named(accounts: Session['accounts'], nameOf: (accountId: string) => string): string {
  const names = accounts.slice(0, mostNamed).map(({ id }) => nameOf(id));
  const more = accounts.length - names.length;
  return names.join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function addRelease(parent: Command, actions: CliActions): void {
  const command = parent
    .command('release')
    .description('end a session, so that others can have its accounts')
    .argument('<session>', 'its id, as "warp2api pool sessions" shows it')
    .option('--json', 'print {"released": n}')
    .addHelpText(
      'after',
      `
For a program that is gone and holds accounts until its session expires. One that still runs learns that it lost them.

Example:
  warp2api pool release sess_0b6c2d7e-3f1a-4f53-9a53-51a3ff1c1c5e`,
    );
  answerFromPool(command, actions, async (admin, session: string) => {
    const released = await admin.releaseSession(session);
    return [{ released }, `The session is over; accounts that came free: ${released}.\n`];
  });
}
